"""The database: versions, counters, and who may open it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from lightning_host.database import (
    SCHEMA_VERSION,
    Database,
    SchemaError,
    from_ms,
    insert_if_new,
    metadata,
    take_numbers,
    to_ms,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from connection_strings import Secret
    from tests.lightning_host.hosts import HostBench


async def test_counter_gives_each_number_once(hosts: HostBench) -> None:
    """Many at once get numbers without gap or repetition, each kind its own."""
    database = await Database.open(hosts.secret())

    taking = partial(take_numbers, counter="settlements")
    numbers = await asyncio.gather(*(database.write(taking) for _ in range(20)))
    assert sorted(numbers) == list(range(1, 21))
    assert await database.write(partial(take_numbers, counter="others", count=3)) == 3
    await database.aclose()


async def test_only_what_must_be_durable_waits_for_the_disk(url: Secret) -> None:
    """A write waits until it is on the disk, also right after one that said it need not, which is kept all the same."""
    async with aclosing(await Database.open(url)) as database:

        def waits(connection: Connection) -> bool:
            on_server = connection.dialect.name == "postgresql"
            asked = "SHOW synchronous_commit" if on_server else "PRAGMA synchronous"
            take_numbers(connection, "writes")
            return connection.execute(text(asked)).scalar_one() in ("on", 2)

        assert await database.write(waits) is True
        both = await asyncio.gather(database.write(waits), database.write(waits, durable=False))
        assert [*both] == [True, False]
        assert await database.write(waits) is True
        assert await database.write(partial(take_numbers, counter="writes")) == 5


async def test_database_of_a_newer_host_is_left_alone(hosts: HostBench) -> None:
    """A host that finds tables of a version it does not know refuses to start."""
    database = await Database.open(hosts.secret())
    await database.write(lambda connection: connection.execute(text("UPDATE host_schema SET version = 99")))
    await database.aclose()
    with pytest.raises(SchemaError, match=f"has schema 99, this host knows {SCHEMA_VERSION}; upgrade the host"):
        await Database.open(hosts.secret())


async def test_opening_again_keeps_what_is_there(hosts: HostBench) -> None:
    """A second start changes nothing."""
    for expected in (1, 2):
        database = await Database.open(hosts.secret())
        assert await database.write(partial(take_numbers, counter="starts")) == expected
        await database.aclose()


async def test_insert_if_new_tells_whether_it_was(url: Secret) -> None:
    """A row is new once, with either database: whether a payment counts hangs on that answer."""
    database = await Database.open(url)
    row = {"name": "one", "value": 0}
    adding = partial(insert_if_new, table=metadata.tables["host_counters"], row=row)
    assert [await database.write(adding) for _ in range(3)] == [True, False, False]
    await database.aclose()


def test_times_survive_the_way_there_and_back() -> None:
    """Whole milliseconds come back as they were, before and after 1970."""
    for seconds in (-1, 0, 1_795_000_000):
        time = datetime(1970, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC) + timedelta(seconds=seconds)
        assert from_ms(to_ms(time)) == time
