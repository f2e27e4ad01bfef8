"""How a database carries statements out: what is asked is noted, and plans that read or sort whole tables are found."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy import Connection, Engine

__all__ = ["complaints", "noted", "unforeseen"]


@contextmanager
def noted(engines: Iterable[Engine]) -> Iterator[dict[str, Any]]:
    """Note each statement that finds rows, with the parameters that it was last asked with."""
    seen: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            seen[statement] = parameters[0] if many else parameters

    engines = list(engines)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def complaints(connection: Connection, statement: str, parameters: Any, *, big: Collection[str], few: int) -> list[str]:
    """Return what is wrong with how a statement would be carried out.

    Args:
        connection: To a database with many rows.
        statement: The statement.
        parameters: What it is asked with.
        big: The tables, and their other names in statements, that grow.
        few: How many rows may be sorted.

    """
    if connection.dialect.name == "sqlite":
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        whole = re.compile(rf"SCAN ({'|'.join(big)})\b(?! USING (COVERING )?INDEX)|USE TEMP B-TREE FOR ORDER BY")
        return [step for step in steps if whole.match(step)]
    connection.exec_driver_sql("SET random_page_cost = 1.1")  # as on a disk without moving parts
    answer = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    wrong = []
    for node in _nodes(plan):
        if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in big:
            wrong.append(f"Seq Scan on {node['Alias']}")
        if node["Node Type"] == "Sort" and node["Plan Rows"] > few:
            wrong.append("Sort")
    return wrong


def unforeseen(found: Iterable[str], statement: str, allowed: Iterable[str]) -> list[str]:
    """Return the complaints about a statement that no allowed pattern fits, as one line each."""
    lines = [f"{complaint} {' '.join(statement.split())}" for complaint in found]
    return [line for line in lines if not any(re.search(mark, line) for mark in allowed)]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan of PostgreSQL and what it is made of."""
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)
