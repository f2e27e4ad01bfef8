"""The short form of the host beside LNbits: counts, no speed."""

from __future__ import annotations

import os

import pytest

from tests.benchmarks import beside_lnbits
from tests.benchmarks.plots import draw
from tests.benchmarks.report import render
from tests.lightning_host.lnbits import install_lnbits, installed_lnbits


@pytest.mark.timeout(600)  # in CI it may be the first to install LNbits
def test_both_servers_have_each_invoice_made_once() -> None:
    """Each answer is an invoice of its own, made by one request to the wallet's server; LNbits where it is there."""
    lnbits = install_lnbits() if os.environ.get("CI") else installed_lnbits()
    figures = beside_lnbits.measure(lnbits=lnbits, rounds=1, at_once=2, invoices=4)
    names = [beside_lnbits.OURS, beside_lnbits.LNBITS] if lnbits else [beside_lnbits.OURS]
    assert [(row["what"], row["way"]) for row in figures["rows"]] == [
        (what, name) for what in beside_lnbits.WHAT for name in names
    ]
    for row in figures["rows"]:
        assert row["requests"]["median"] == 4
        assert row["creations"]["median"] == 4 + beside_lnbits.BEFORE
    if lnbits:
        assert all(row["cpu_of_lnbits"] == 1 for row in figures["rows"] if row["way"] == beside_lnbits.LNBITS)
    assert "| our host |" in render("lnbits", figures)
    assert ">our host<" in draw({"lnbits": figures})["performance-lnbits.svg"]
