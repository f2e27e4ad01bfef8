"""The README tells the truth, and what it leads to: its code runs, the tables list what there is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flash_driver.settings.account import ALIASES, KEYS
from flash_driver.settings.process import ProcessSettings
from tests.support.driver import made

if TYPE_CHECKING:
    import pytest

    from tests.support.driver import Bench

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


async def test_the_python_example_runs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the README creates an invoice and hears of its payment."""
    sandbox = await bench.sandbox()
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - running the example is the test
    example = asyncio.create_task(names["main"](sandbox.connection_string))
    async with asyncio.timeout(30):
        while not (paid := made(sandbox, 1_000_000)):  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.01)
        sandbox.pay(paid[0]["payment_request"])
        await example
    shown = capsys.readouterr().out
    assert paid[0]["payment_request"] in shown
    assert f"{paid[0]['payment_hash']} " in shown


def test_every_key_is_in_the_table() -> None:
    """The table of keys lists each key that the driver takes, and no other; aliases are named below it."""
    table = CONFIGURATION.split("## The environment")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == KEYS | {"type"}
    assert all(f"`{alias}`" in table for alias in ALIASES)


def test_every_variable_is_in_the_table() -> None:
    """The table of variables lists each that the process reads."""
    listed = set(re.findall(r"^\| `FLASH_([A-Z_]+)` \|", CONFIGURATION, re.MULTILINE))
    assert listed == {name.upper() for name in ProcessSettings.model_fields} | {"CONNECTION_STRING"}


def test_links_lead_somewhere() -> None:
    """Each relative link of the documents points at a file that exists."""
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / name).read_text())
        assert [target for target in targets if not (ROOT / target).exists()] == []


def test_changelog_and_package_agree_on_the_version() -> None:
    """The version stands in one place for the package and one for the code, and both say the same."""
    from flash_driver import __version__  # noqa: PLC0415 - the subject of the test

    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
