"""The short form of idle accounts: counts, no memory."""

from __future__ import annotations

from tests.benchmarks import accounts
from tests.benchmarks.report import render


def test_each_account_has_its_socket() -> None:
    """This many accounts and the one before them listen, each on a socket of its own."""
    figures = accounts.measure(accounts=(1, 4), rounds=1, idle_seconds=0.05)
    assert [row["accounts"] for row in figures["rows"]] == [1, 4]
    assert [row["sockets"]["median"] for row in figures["rows"]] == [2, 5]
    assert len({row["tasks_each"]["median"] for row in figures["rows"]}) == 1
    assert "| 4 " in render("accounts", figures)
