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

FEW = {1: 3, 4: 8}
BEFORE = 5


def test_each_invoice_is_one_request_and_is_journalled() -> None:
    """On each way: one creation per invoice, no second try, and every one in the journal."""
    figures = create.measure(rounds=1, at_once=FEW, ways=tuple(create.OURS))
    assert len(figures["rows"]) == len(create.OURS) * len(FEW)
    for row in figures["rows"]:
        invoices = FEW[row["at_once"]]
        assert row["requests"]["median"] == row["journalled"]["median"] == invoices
        assert row["creations"]["median"] == invoices + BEFORE
    assert "| our graphql " in render("create", figures)


def test_the_sandbox_serves_as_well() -> None:
    """Against the real sandbox the invoices are made and journalled, too."""
    (row,) = create.measure(rounds=1, at_once={2: 4}, ways=(create.SANDBOX,))["rows"]
    assert row["requests"]["median"] == row["journalled"]["median"] == 2


@pytest.fixture
def lnbits() -> Path:
    """Give LNbits' environment if it is there already; in CI it is made."""
    found = install_lnbits() if os.environ.get("CI") else installed_lnbits()
    if found is None:
        pytest.skip(f"LNbits {LNBITS_VERSION} is not installed yet")
    return found


@pytest.mark.timeout(400)  # in CI it may be the first to install LNbits
def test_blink_wallet_is_asked_for_the_same(lnbits: Path) -> None:
    """BlinkWallet gets its invoices from the same server, one request each, and is what ours is compared with."""
    figures = create.measure(rounds=1, at_once={2: 6}, ways=("our socket",), lnbits=lnbits)
    ours, blink, decoding = figures["rows"]
    assert (blink["way"], decoding["way"]) == (create.BLINK, create.BLINK_DECODING)
    for row in (ours, blink, decoding):
        assert row["creations"]["median"] == 6 + BEFORE
    assert blink["throughput_of_blink"] == 1
    assert ours["cpu_of_blink"] == ours["cpu"]["median"] / blink["cpu"]["median"]
