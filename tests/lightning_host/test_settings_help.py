"""The variables of the environment, for people."""

from __future__ import annotations

import pytest

from lightning_host.settings import HostSettings
from lightning_host.settings_help import unknown_variables, variables_help


def test_help_lists_each_setting() -> None:
    """Every field of the settings has its variable in the help, with words, and nothing else has."""
    lines = variables_help().splitlines()
    names = [line.split()[0] for line in lines[1:] if not line.startswith("   ")]
    assert names == [field.upper() for field in HostSettings.model_fields]
    for index, line in enumerate(lines[1:-1], start=1):
        assert line.startswith("   ") or lines[index + 1].startswith("      "), line


@pytest.mark.parametrize(
    "line",
    [
        "  PORT (8080)",
        "  LNURL_ALLOWANCE (8/120)",
        "  WEBHOOK_PRIVATE_ADDRESSES (false)",
        "  DATABASE_URL (sqlite:///lightning-host.sqlite3)",
        "  API_KEY",
        "      The wallet of the store STORE_ID; or use STORES.",
    ],
)
def test_help_tells_defaults_as_they_would_be_written(line: str) -> None:
    """Defaults stand there as in the environment; other settings are called by their variables."""
    assert line in variables_help().splitlines()


def test_unknown_variables_are_found() -> None:
    """What has the prefix and no reader is told, with the nearest name; files and other programs' variables are not."""
    names = [
        "PATH",
        "LIGHTNING_HOST_PORT",
        "LIGHTNING_HOST_API_KEY_FILE",
        "LIGHTNING_HOST_PROT",
        "LIGHTNING_HOST_XYZZY",
    ]
    assert unknown_variables(names) == [
        "LIGHTNING_HOST_PROT is no setting of this host; did you mean LIGHTNING_HOST_PORT?",
        "LIGHTNING_HOST_XYZZY is no setting of this host",
    ]
