"""A database that is away, or held by a process that froze: nothing waits without an end, and others go on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from connection_strings import Secret
from lightning_host.database import Database, is_away, take_numbers
from tests.support.pgbouncer import BOUNCER_MISSING, bouncer_binary, transaction_pooler
from tests.support.postgres import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

HOLDER = """
import asyncio, sys, time
from connection_strings import Secret
from lightning_host.database import Database, take_numbers

async def hold():
    database = await Database.open(Secret(sys.argv[1]))
    def work(connection):
        take_numbers(connection, "settlements")
        print("held", flush=True)
        time.sleep(60)

    await database.write(work)

asyncio.run(hold())
"""


@pytest.fixture
def frozen(postgres: PostgresServer) -> Iterator[str]:
    """Give a database whose counter of settlements is held by a host's process that is stopped."""
    url = postgres.new_database()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            os.kill(holder.pid, signal.SIGSTOP)
            yield url
        finally:
            os.kill(holder.pid, signal.SIGCONT)
            holder.kill()


async def test_frozen_transaction_stops_nobody_for_long(frozen: str) -> None:
    """The server takes the lock from a process that froze, before the first that waits for it gives up."""
    database = await Database.open(Secret(frozen))
    try:
        await database.prove("settlements")
    finally:
        await database.aclose()


async def test_isolation_is_stated_not_inherited(postgres: PostgresServer) -> None:
    """Where the database's own setting is serializable, the host's transactions are what they are elsewhere."""
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f'ALTER DATABASE "{connection.info.dbname}" SET default_transaction_isolation = serializable'
        )
    database = await Database.open(Secret(url))
    try:
        stated = "SHOW transaction_isolation"
        seen = await database.write(lambda connection: connection.exec_driver_sql(stated).scalar())
        assert seen == "read committed"
    finally:
        await database.aclose()


async def test_stopped_database_is_away(postgres: PostgresServer) -> None:
    """A server that ends, that starts, and that is gone: each is told as `away`, never as an unforeseen error."""
    database = await Database.open(Secret(postgres.new_database()))
    seen = []
    try:
        await database.prove("settlements")
        postgres.stop()
        for _ in range(2):
            with pytest.raises((DBAPIError, OSError)) as caught:
                await database.prove("settlements")
            seen.append(is_away(caught.value))
        postgres.start()
        await database.prove("settlements")
    finally:
        await database.aclose()
    assert seen == [True, True]


@pytest.mark.parametrize(("state", "away"), [("57P03", True), ("08006", True), ("53300", True), ("23505", False)])
def test_sqlstate_tells_whether_it_is_away(state: str, away: bool) -> None:  # noqa: FBT001 - a column of the table
    """Connection trouble and a server that ends or starts are `away`, a broken constraint is a fault."""

    class OfDriver(Exception):
        sqlstate = state

    assert is_away(DBAPIError("SELECT 1", {}, OfDriver())) is away


@pytest.mark.skipif(bouncer_binary() is None and not os.environ.get("CI"), reason=BOUNCER_MISSING)
async def test_pooler_in_transaction_mode_will_do(postgres: PostgresServer) -> None:
    """More callers than the pooler has connections take numbers, and each gets one of its own."""
    name = postgres.new_database().partition("@/")[2].partition("?")[0]
    with transaction_pooler(postgres) as port:
        url = Secret(f"postgresql://journal:{PASSWORD}@127.0.0.1:{port}/{name}")
        async with aclosing(await Database.open(url)) as one, aclosing(await Database.open(url)) as two:
            taking = partial(take_numbers, counter="settlements")
            numbers = await asyncio.gather(*(database.write(taking) for database in (one, two) for _ in range(10)))
    assert sorted(numbers) == list(range(1, 21))
