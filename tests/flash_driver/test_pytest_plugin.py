"""The pytest plugin, as a project that uses it would."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

SUITE = """
from datetime import timedelta

import pytest

from connection_strings import LightMoney, LightningClientFactory


async def test_paid(flash_sandbox):
    async with LightningClientFactory().create(flash_sandbox.connection_string) as client:
        async with await client.listen() as listener:
            invoice = await client.create_invoice(LightMoney.from_sat(1000), "coffee", timedelta(minutes=1))
            flash_sandbox.pay(invoice.bolt11)
            assert (await listener.wait_invoice()).id == invoice.id
        result = await client.pay(flash_sandbox.foreign_invoice(1000_000))
    assert len(flash_sandbox.ledger()["payments"]) == 1


@pytest.mark.flash_sandbox(ws_mutations="decline", http_bearer="accept")
def test_declines(flash_sandbox):
    assert flash_sandbox.ledger()["invoices"] == []


def test_a_foreign_invoice_is_not_its_own(flash_sandbox):
    with pytest.raises(LookupError):
        flash_sandbox.pay(flash_sandbox.foreign_invoice(1000))
"""


@pytest.mark.timeout(300)
def test_a_project_gets_a_server_for_each_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests, those of the guide too, have a server of their own, of the kind that they name, and none is left."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", "memory:")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    guide = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.DOTALL)[0]
    pytester.makepyfile(test_suite=SUITE, test_guide=guide)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    plugin = [] if is_installed() else ["-p", "flash_driver.pytest_plugin"]
    pytester.runpytest_subprocess("--strict-markers", "-W", "error", *plugin).assert_outcomes(passed=5)


def is_installed() -> bool:
    """Whether the entry point is there; the metadata of a checkout may be older than its source."""
    return any(point.name == "flash_sandbox" for point in entry_points(group="pytest11"))
