"""The short form of comparing complete invoices: counts, no speed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import create
from tests.benchmarks.report import render
from tests.lightning_host.lnbits import LNBITS_VERSION, install_lnbits, installed_lnbits

if TYPE_CHECKING:
    from pathlib import Path

FEW = {4: 8}
BEFORE = 5


def test_each_invoice_is_one_request_and_is_journalled() -> None:
    """On each way, and against the real sandbox: one request per invoice, no second try, and all are in the journal."""
    figures = create.measure(rounds=1, at_once=FEW, ways=(*create.OURS, create.SANDBOX))
    *ours, sandbox = figures["rows"]
    assert [row["way"] for row in ours] == list(create.OURS)
    for row in ours:
        assert row["requests"]["median"] == row["journalled"]["median"] == 8
        assert row["creations"]["median"] == 8 + BEFORE
    assert sandbox["requests"]["median"] == sandbox["journalled"]["median"] == 4
    assert "| our graphql " in render("create", figures)


@pytest.fixture
def lnbits() -> Path:
    """Give LNbits' environment if it is there already; in CI it is made."""
    found = install_lnbits() if os.environ.get("CI") else installed_lnbits()
    if found is None:
        pytest.skip(f"LNbits {LNBITS_VERSION} is not installed yet")
    return found


@pytest.mark.timeout(600)  # in CI it may be the first to install LNbits
def test_blink_wallet_is_asked_for_the_same(lnbits: Path) -> None:
    """BlinkWallet gets its invoices from the same server, one request each, and is what ours is compared with."""
    figures = create.measure(rounds=1, at_once={2: 6}, ways=("our socket",), lnbits=lnbits)
    ours, blink, decoding = figures["rows"]
    assert (blink["way"], decoding["way"]) == (create.BLINK, create.BLINK_DECODING)
    for row in (ours, blink, decoding):
        assert row["creations"]["median"] == 6 + BEFORE
    assert blink["throughput_of_blink"] == 1
    assert ours["cpu_of_blink"] == ours["cpu"]["median"] / blink["cpu"]["median"]
