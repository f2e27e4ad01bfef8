"""The files for real money hold what they promise: parsed here, run by `docker/compose-test`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lightning_host.phoenixd.events import _HEARTBEAT_SECONDS
from tests.lightning_host.needs import missing

PRODUCTION = Path(__file__).parents[2] / "docker" / "production"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Give the services of the compose file, parsed."""
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 - stubs may be missing, and all of it, too
    except ImportError:
        missing("PyYAML")
    parsed = yaml.safe_load((PRODUCTION / "compose.yaml").read_text())
    assert isinstance(parsed, dict)
    return dict(parsed["services"])


def test_nothing_of_the_sandbox_is_there(services: dict[str, Any]) -> None:
    """No play money: no sandbox, no button that pays, no webhook or payee inside the network."""
    assert set(services) == {"caddy", "host-a", "host-b", "postgres"}
    text = (PRODUCTION / "compose.yaml").read_text()
    assert "SANDBOX" not in text
    assert "PRIVATE_ADDRESSES" not in text
    for name in ("host-a", "host-b"):
        assert services[name]["environment"]["LIGHTNING_HOST_PUBLIC_URL"].startswith("https://")


def test_only_caddy_is_reached_from_outside(services: dict[str, Any]) -> None:
    """Caddy alone is published; the database is on a network that leads nowhere, where Caddy is not."""
    assert [name for name, service in services.items() if "ports" in service] == ["caddy"]
    assert {name: service["networks"] for name, service in services.items()} == {
        "caddy": ["front"],
        "host-a": ["front", "back"],
        "host-b": ["front", "back"],
        "postgres": ["back"],
    }


def test_caddy_breaks_connections_as_the_host_does() -> None:
    """What Caddy can't hand on is told to BTCPay by no error status, and a socket that is silent is ended."""
    text = (PRODUCTION / "Caddyfile").read_text()
    handled = text[text.index("handle_errors {") :]
    for line in ("path /payments/*", "not header User-Agent *", "abort @btcpay"):
        assert f"\t{line}\n" in handled
    silence = re.search(r"read_timeout (\d+)s", text)
    assert silence is not None
    assert int(silence[1]) > _HEARTBEAT_SECONDS


def test_services_are_hardened(services: dict[str, Any]) -> None:
    """Nobody writes the image's files or gains rights; only Caddy, for its ports, keeps one right of root."""
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        if name == "caddy":
            assert service["cap_add"] == ["NET_BIND_SERVICE"]
        else:
            assert int(service["user"].partition(":")[0]) > 0


def test_secrets_come_from_files(services: dict[str, Any]) -> None:
    """No variable is a secret; the connection string lies in a folder, so that a new one is seen by who mounts it."""
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if any(word in name for word in ("PASSWORD", "TOKEN", "KEY", "STRING", "DATABASE_URL", "JOURNAL")):
                assert name.endswith("_FILE"), name
                assert value.startswith(("/run/secrets/", "/run/wallet/")), name
    assert "./secrets/wallet:/run/wallet:ro" in services["host-a"]["volumes"]


def test_example_lists_what_can_be_set() -> None:
    """Each variable that the compose file takes is in `.env.example`, and nothing else is but ports for tests."""
    taken = set(re.findall(r"\$\{([A-Z_]+)", (PRODUCTION / "compose.yaml").read_text()))
    listed = set(re.findall(r"^([A-Z_]+)=", (PRODUCTION / ".env.example").read_text(), re.MULTILINE))
    assert taken - listed == {"HTTP_PORT", "HTTPS_PORT"}
    assert listed <= taken


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """The script makes all but the connection string, asks for that, and keeps what there is."""
    script = tmp_path / "make-secrets"
    script.write_bytes((PRODUCTION / "make-secrets").read_bytes())
    assert os.access(PRODUCTION / "make-secrets", os.X_OK)
    first = subprocess.run(["bash", str(script)], check=False, capture_output=True, text=True)
    assert first.returncode == 1
    assert "now write the connection string into" in first.stderr
    (tmp_path / "secrets" / "wallet" / "connection_string").write_text("type=flash;token=fk_x")
    made = {path: path.read_text() for path in (tmp_path / "secrets").glob("*") if path.is_file()}
    assert len(set(made.values())) == len(made) == 6
    subprocess.run(["bash", str(script)], check=True)
    assert {path: path.read_text() for path in made} == made
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
