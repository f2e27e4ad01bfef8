"""The short form of import times: what is loaded, not how long that takes."""

from __future__ import annotations

from tests.benchmarks import imports
from tests.benchmarks.report import render


def test_the_contract_loads_nothing_from_outside() -> None:
    """Neither the contract nor the driver's package by itself loads any of the driver's dependencies."""
    names = (imports.BARE, "connection_strings", "flash_driver")
    figures = imports.measure(rounds=1, names=names)
    assert [row["what"] for row in figures["rows"]] == list(names)
    assert [row["loads"] for row in figures["rows"]] == [[], [], []]
    assert figures["rows"][0]["beyond"] == 0
    assert "| flash_driver " in render("imports", figures)
