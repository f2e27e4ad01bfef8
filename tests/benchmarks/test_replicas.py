"""The short form of replicas on one PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import replicas
from tests.benchmarks.report import render

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer


def test_every_replica_is_told_of_every_settlement(postgres: PostgresServer) -> None:
    """Two processes share an account or have one each: what either settles, all listeners of the account hear."""
    figures = replicas.measure_with(postgres, processes=(2,), rounds=1, seconds=0.2, at_once=2)
    assert [row["accounts"] for row in figures["rows"]] == ["one account", "an account each"]
    assert all(row["settled_per_second"]["median"] > 0 for row in figures["rows"])
    assert all(row["connections"]["least"] >= 4 for row in figures["rows"])
    assert "| one account " in render("replicas", figures)
