"""A database of an older host becomes that of this one: its tables, its indexes and its totals."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import inspect, text

from connection_strings import Secret
from lightning_host.database import SCHEMA_VERSION, Database
from lightning_host.flashcards.totals import card_totals
from lightning_host.settlements.ledger import SettlementLedger

if TYPE_CHECKING:
    import pytest
    from sqlalchemy import Connection

    from tests.lightning_host.hosts import HostBench

VERSION_2: Final = Path(__file__).with_name("version_2.sql")
VERSION_3: Final = (
    "DROP INDEX host_flashcard_taps_by_end",
    "UPDATE host_schema SET version = 3",
    (
        "INSERT INTO host_flashcard_taps"
        " (code_digest, store, card, chip, status, expires_at, amount_msat, charged_msat, ended_at)"
        " VALUES ('1', 'shop', '', '', 'paid', 0, 1000, 1001, 1), ('2', 'shop', '', '', 'paid', 0, 1000, 1002, 1),"
        " ('3', 'shop', '', '', 'failed', 0, 1000, NULL, 1), ('4', 'shop', '', '', 'paying', 0, 1000, NULL, NULL),"
        " ('5', 'shop', '', '', 'open', 0, NULL, NULL, NULL)"
    ),
)
"""What makes a new database one of version 3 in which cards have paid."""


def shape(connection: Connection) -> dict[str, Any]:
    """Return the tables with their columns and indexes."""
    inspector = inspect(connection)
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            sorted((str(index["name"]), index["column_names"]) for index in inspector.get_indexes(table)),
        )
        for table in inspector.get_table_names()
    }


async def test_older_database_becomes_a_new_one(url: Secret, hosts: HostBench, request: pytest.FixtureRequest) -> None:
    """After the steps it has the tables and indexes of a new one, and totals of what was settled before."""
    on_server = url.reveal().startswith("postgresql")
    other = Secret(request.getfixturevalue("postgres").new_database() if on_server else hosts.sqlite("other"))
    async with aclosing(await Database.open(other)) as new:
        expected = await new.read(shape)

    def make_old(connection: Connection) -> None:
        for table in expected:
            connection.execute(text(f"DROP TABLE {table}"))
        for statement in VERSION_2.read_text().rstrip(";\n").split(";"):
            connection.execute(text(statement))

    async with aclosing(await Database.open(url)) as emptied:
        await emptied.write(make_old)
    async with aclosing(await Database.open(url)) as renewed:
        assert await renewed.read(shape) == expected
        assert await SettlementLedger(renewed).totals() == {("shop", "lnurl"): (2, 3000), ("shop", "phoenixd"): (1, 5)}
        version = text("SELECT version FROM host_schema")
        assert await renewed.read(lambda connection: connection.execute(version).scalar_one()) == SCHEMA_VERSION


async def test_database_of_version_3_becomes_a_new_one(url: Secret) -> None:
    """A database of version 3, which knows taps already, gets the index and the totals of how they ended."""
    async with aclosing(await Database.open(url)) as new:
        expected = await new.read(shape)

        def make_old(connection: Connection) -> None:
            for statement in VERSION_3:
                connection.execute(text(statement))

        await new.write(make_old)
    async with aclosing(await Database.open(url)) as renewed:
        assert await renewed.read(shape) == expected
        totals = {each.outcome: (each.payments, each.amount.msat) for each in await card_totals(renewed, ["shop"])}
        assert totals == {"paid": (2, 2003), "failed": (1, 1000)}
