"""How often PostgreSQL is waited for, and that a connection which leads nowhere any more is never used."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from sqlalchemy import text

from connection_strings import Secret
from lightning_host.database import Database, postgresql, take_numbers
from tests.lightning_host.hosts import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from tests.support.postgres import PostgresServer

ALWAYS: Final = 3_600.0
COUNT: Final = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lightning-host' AND datname = %s"
END: Final = COUNT.replace("count(*)", "pg_terminate_backend(pid)")


def look(connection: Connection) -> int:
    """Read something."""
    return int(connection.execute(text("SELECT 1")).scalar_one())


async def flights(monkeypatch: pytest.MonkeyPatch, do: Callable[[], Awaitable[object]]) -> int:
    """Do something; return how many statements the server got, each of which is waited for."""
    sent: list[None] = []
    execute = psycopg.AsyncCursor.execute

    async def note(self: psycopg.AsyncCursor[Any], *arguments: Any, **more: Any) -> Any:
        sent.append(None)
        return await execute(self, *arguments, **more)

    with monkeypatch.context() as counting:
        counting.setattr(psycopg.AsyncCursor, "execute", note)
        await do()
    return len(sent)


async def test_a_connection_in_use_is_not_asked_whether_it_lives(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only reads waits for the server once; on a connection that has rested it asks first."""
    async with aclosing(await Database.open(Secret(postgres.new_database()))) as database:
        await database.read(look)
        monkeypatch.setattr(postgresql, "_FRESH_SECONDS", ALWAYS)
        assert await flights(monkeypatch, lambda: database.read(look)) == 1
        monkeypatch.setattr(postgresql, "_FRESH_SECONDS", -1)
        assert await flights(monkeypatch, lambda: database.read(look)) == 2


@pytest.mark.parametrize("fresh", [ALWAYS, -1])
async def test_connections_that_the_server_ended_are_replaced(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, fresh: float
) -> None:
    """After the server has ended every connection, nobody notices, whether reading or writing."""
    url = postgres.new_database()
    monkeypatch.setattr(postgresql, "_FRESH_SECONDS", fresh)
    async with aclosing(await Database.open(Secret(url))) as database:
        await asyncio.gather(*(database.read(look) for _ in range(5)))
        name = url.partition("@/")[2].partition("?")[0]
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
            await other.execute(END, (name,))

            async def all_ended() -> bool:
                return await (await other.execute(COUNT, (name,))).fetchone() == (0,)

            await eventually(all_ended)
        numbers = (database.write(lambda connection: take_numbers(connection, "test")) for _ in range(3))
        assert sorted(await asyncio.gather(*numbers)) == [1, 2, 3]
        assert await database.read(look) == 1
