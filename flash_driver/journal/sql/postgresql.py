"""Transactions on a PostgreSQL server.

Nothing here waits without an end. Every transaction that writes begins by telling the server how long it may wait for a
lock, take, and stay idle: the server itself takes the locks from a process that was stopped or cut off. That is said
inside the transaction, so that it holds behind a pooler such as pgbouncer too, which takes no settings of a session.
psycopg sends a statement whole (Parse, Bind, Execute and Sync in one flight): a process that stops between two
statements is idle for the server, never in the middle of one, where no limit of the server's would apply. It prepares
nothing, which a pooler in transaction mode would lose.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

import certifi
import psycopg
from psycopg import waiting
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flash_driver.common.log import get_logger
from flash_driver.common.tasks import TaskSet
from flash_driver.journal.sql.transactions import DURABLE, PATIENCE_SECONDS, WRITES, Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from psycopg.abc import PQGen
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from flash_driver.journal.urls import JournalUrl

__all__ = ["PostgresqlDatabase", "connect", "connect_blocking", "connected"]

T = TypeVar("T")

_APPLICATION: Final = "flash-driver"
_CONNECTIONS: Final = 10
"""How many there are at most; all are kept, as to make one again for each transaction costs more than most of them."""

_FRESH_SECONDS: Final = 1.0
"""For how long after its last use a connection is taken without asking the server whether it is still there."""

_SECONDS: Final = "flash_driver_seconds"
"""The execution option of how long a transaction may take."""

_IDLE_SECONDS: Final = 3.0
"""After how long the server takes the locks from a process that does nothing in the middle of a transaction."""

_STUCK_SECONDS: Final = 2.0
"""After how long a transaction that waits looks for the one of ours that is stuck and ends it, and so on."""

_KNOWS_TRANSACTION_TIMEOUT: Final = 170000
"""The first version of PostgreSQL that limits a transaction as a whole."""

_END_STUCK: Final = """
    SELECT count(pg_terminate_backend(holder.pid))
    FROM pg_stat_activity AS holder
    WHERE holder.application_name = current_setting('application_name') AND holder.datname = current_database()
      AND holder.usename = current_user AND holder.wait_event_type = 'Client' AND holder.xact_start IS NOT NULL
      AND holder.state_change < clock_timestamp() - make_interval(secs => %s)
      AND EXISTS (
        SELECT FROM pg_locks AS waiting WHERE NOT waiting.granted AND holder.pid = ANY (pg_blocking_pids(waiting.pid))
      )
"""
"""Ends those of our own sessions that stand in others' way in a transaction, and have waited for their client long."""

_log: Final = get_logger(part="journal")


class PostgresqlDatabase:
    """A PostgreSQL server.

    Args:
        journal: Which database of which server.

    """

    dialect = "postgresql"

    def __init__(self, journal: JournalUrl) -> None:
        self._journal = journal
        self._wires: WeakSet[psycopg.AsyncConnection[Any]] = WeakSet()
        self.engine = self._make_engine()
        self._to_write = self.engine.execution_options(**{WRITES: True})
        self._statements: set[asyncio.Task[Any]] = set()
        self._long_reads = asyncio.Semaphore(1)
        self._generation = 0
        self._ending = TaskSet()

    def prepare(self) -> None:
        """Do nothing: the database is there or not."""

    def read(self, work: Callable[[Connection], T], seconds: float, *, long: bool = False) -> asyncio.Future[T]:
        """Begin something that only reads, each statement by itself."""
        return self._begin(self.engine, work, seconds, self._long_reads if long else None)

    def write(self, work: Callable[[Connection], T], seconds: float, *, durable: bool = True) -> asyncio.Future[T]:
        """Begin something in a transaction that writes; nothing of it is kept where the future is cancelled in time."""
        looking = asyncio.get_running_loop().call_later(_STUCK_SECONDS, self._look_for_stuck)
        doing = self._begin(self._to_write.execution_options(**{_SECONDS: seconds, DURABLE: durable}), work, seconds)
        doing.add_done_callback(lambda _: looking.cancel())
        return doing

    async def aclose(self) -> None:
        """Close every connection; what is under way has been cancelled before."""
        while self._statements:
            await asyncio.wait(set(self._statements))
        await self._ending.aclose()
        await self.engine.dispose()

    def close(self) -> None:
        """Close every connection at once, whatever is under way on it."""
        for wire in list(self._wires):
            wire.pgconn.finish()

    def _make_engine(self) -> AsyncEngine:
        """Return an engine on the running event loop; it connects when it is used."""

        async def create() -> psycopg.AsyncConnection[Any]:
            wire = await connect(self._journal)
            self._wires.add(wire)
            return wire

        engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=create,
            hide_parameters=True,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            use_native_hstore=False,
        )
        event.listen(engine.sync_engine, "begin", _begin)
        event.listen(engine.sync_engine, "checkin", _note_use)
        event.listen(engine.sync_engine, "checkout", self._insist_on_life)
        return engine

    def _insist_on_life(
        self, connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        """Make sure that a connection from the pool still leads to the server.

        That costs a round trip, so one that was used a moment ago is only looked at: the end of it, from the server or
        from the network, can be read.

        Raises:
            InvalidatePoolError: It does not; the pool makes another, and takes none of those that it has.

        """
        del proxy
        if (used_at := entry.info.get("used_at")) is None:
            return  # it has just been made
        wire: Any = entry.driver_connection
        try:
            if time.monotonic() - used_at > _FRESH_SECONDS or _is_readable(wire.fileno()):
                self.engine.dialect.do_ping(connection)
        except psycopg.Error:
            raise InvalidatePoolError from None

    def _begin(
        self,
        engine: AsyncEngine,
        work: Callable[[Connection], T],
        seconds: float,
        turn: asyncio.Semaphore | None = None,
    ) -> asyncio.Future[T]:
        """Begin something on a connection; where the future is cancelled, the connection is cut.

        The statement is a task of its own, which `aclose` waits for: it gives its connection back, or closes it.
        """
        cutting = _Cut(seconds)
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        told.add_done_callback(lambda done: cutting.now() if done.cancelled() else None)
        doing = asyncio.create_task(
            self._do(engine, work, seconds, cutting, turn), name="flash-driver journal statement"
        )
        self._statements.add(doing)

        def tell(done: asyncio.Task[T]) -> None:
            self._statements.discard(done)
            error = None if done.cancelled() else done.exception()
            if told.done():
                return
            if done.cancelled():
                told.cancel()
            elif error is not None:
                told.set_exception(error)
            else:
                told.set_result(done.result())

        doing.add_done_callback(tell)
        return told

    async def _do(
        self,
        engine: AsyncEngine,
        work: Callable[[Connection], T],
        seconds: float,
        cutting: _Cut,
        turn: asyncio.Semaphore | None,
    ) -> T:
        async with turn or contextlib.nullcontext():
            cutting.insist_on_wanted()
            generation = self._generation
            async with asyncio.timeout(seconds):
                connection = await engine.connect()
            try:
                cutting.begin((await connection.get_raw_connection()).driver_connection)
                result = await connection.run_sync(work)
                await connection.commit()
            finally:
                cutting.forget()
                # The pool of before closes no connection that comes back to it, and no pool takes one that is closed.
                if cutting.done or generation != self._generation or cutting.is_closed:
                    await connection.invalidate()
                await connection.close()
                if cutting.done:
                    # If the way to the server is cut, those that are idle now would each cost the same wait.
                    self._generation += 1
                    await self.engine.dispose()
            return result

    def _look_for_stuck(self) -> None:
        if not self._ending:
            self._ending.start(self._end_stuck(), "journal ends stuck sessions")

    async def _end_stuck(self) -> None:
        """End what has stood in the way of others for too long; on a connection of its own, as all may be waiting."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), connected(self._journal) as connection:
                answer = await connection.execute(_END_STUCK, (_STUCK_SECONDS,))
                ended = (await answer.fetchone() or (0,))[0]
        except (psycopg.Error, OSError, TimeoutError) as error:
            _log.debug("could not look for stuck sessions", journal=str(self._journal), error=type(error).__name__)
            return
        if ended:
            _log.warning("ended sessions that held others up", journal=str(self._journal), sessions=ended)


class _Cut:
    """Ends a connection on which no answer comes: its statement fails, and the server takes back what it began.

    Args:
        seconds: After how long.

    Attributes:
        done: Whether it was ended.

    """

    def __init__(self, seconds: float) -> None:
        self.done = False
        self._seconds = seconds
        self._wire: psycopg.AsyncConnection[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def insist_on_wanted(self) -> None:
        """Begin nothing that nobody waits for any more."""
        if self.done:
            raise asyncio.CancelledError

    def begin(self, wire: Any) -> None:
        """Wait for the answers on a connection from now on; ends it at once if `now` was called before."""
        self._wire = wire
        if self.done:
            self.now()
        else:
            self._wait(Patience(self._seconds))

    @property
    def is_closed(self) -> bool:
        """Whether the connection is of no use any more."""
        return self._wire is not None and self._wire.closed

    def forget(self) -> None:
        """Let the connection live."""
        if self._timer is not None:
            self._timer.cancel()

    def now(self) -> None:
        """End it at once; one that is still being made, as soon as it is."""
        self.done = True
        if self._wire is not None:
            with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._wire.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def _wait(self, patience: Patience) -> None:
        self._timer = asyncio.get_running_loop().call_at(patience.until, self._over, patience)

    def _over(self, patience: Patience) -> None:
        if patience.is_over():
            self.now()
        else:
            self._wait(patience)


async def connect(journal: JournalUrl) -> psycopg.AsyncConnection[Any]:
    """Connect, with limits on everything that waits for the network.

    Raises:
        psycopg.Error: That is not possible now.

    """
    connecting = asyncio.create_task(
        _Wire.connect(**_parameters(journal), autocommit=True, prepare_threshold=None),
        name="flash-driver journal connecting",
    )
    try:
        return await asyncio.shield(connecting)
    except psycopg.Error as error:
        # psycopg's frames hold the password; a host may print tracebacks with variables.
        raise error.with_traceback(None) from None
    except asyncio.CancelledError:
        # Cancelled in the middle it would leave a socket open; it takes `connect_timeout` at the most.
        connecting.add_done_callback(_close_unwanted)
        await asyncio.wait([connecting])
        raise


class _Wire(psycopg.AsyncConnection[Any]):
    """A connection that is closed when who waits for its answer is cancelled, as at the end of an event loop.

    psycopg itself would ask the server to end the statement, wait for that, and complain in the log where it can't.
    """

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109 - as psycopg calls it
        """Wait for the server as psycopg does."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


def _note_use(connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    """Take note of when a connection came back to the pool."""
    del connection
    entry.info["used_at"] = time.monotonic()


def _is_readable(descriptor: int) -> bool:
    with selectors.DefaultSelector() as looking:
        looking.register(descriptor, selectors.EVENT_READ)
        return bool(looking.select(0))


def _close_unwanted(connecting: asyncio.Task[psycopg.AsyncConnection[Any]]) -> None:
    """Close a connection that nobody waits for any more, also where who waited for its end was cancelled again."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().pgconn.finish()


@contextlib.asynccontextmanager
async def connected(journal: JournalUrl) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Connect, and close the connection at the end; psycopg's own block leaves it open where it is cancelled then.

    Raises:
        psycopg.Error: That is not possible now.

    """
    connection = await connect(journal)
    try:
        yield connection
    finally:
        await connection.close()


def connect_blocking(journal: JournalUrl, statement_seconds: int) -> psycopg.Connection[Any]:
    """Connect outside an event loop, with a limit on each statement.

    Raises:
        psycopg.Error: That is not possible now.

    """
    try:
        connection = psycopg.connect(**_parameters(journal), prepare_threshold=None, autocommit=True)
    except psycopg.Error as error:
        raise error.with_traceback(None) from None  # as above
    connection.execute(f"SET statement_timeout = {statement_seconds * 1000}".encode())
    connection.autocommit = False
    return connection


def _parameters(journal: JournalUrl) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "connect_timeout": int(PATIENCE_SECONDS),
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": int(PATIENCE_SECONDS * 1000),
        **json.loads(journal.parameters.reveal() if journal.parameters else "{}"),
        "application_name": _APPLICATION,
    }
    if parameters.get("sslmode", "").startswith("verify-") and not os.environ.get("PGSSLROOTCERT"):
        parameters.setdefault("sslrootcert", ssl.get_default_verify_paths().cafile or certifi.where())
    return parameters


def _begin(connection: Connection) -> None:
    """Begin a transaction that writes, and say its limits in the same flight; what only reads needs none."""
    options: Any = connection.get_execution_options()
    if options.get(WRITES):
        info = connection.connection.driver_connection.info  # type: ignore[union-attr]  # it is there while connected
        seconds = options.get(_SECONDS, PATIENCE_SECONDS)
        connection.exec_driver_sql(_opening(seconds, info.server_version, durable=options.get(DURABLE, True)))


def _opening(seconds: float, version: int, *, durable: bool) -> str:
    limits = {
        "lock_timeout": seconds,
        "statement_timeout": seconds,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS,
        "tcp_user_timeout": PATIENCE_SECONDS,
    }
    if version >= _KNOWS_TRANSACTION_TIMEOUT:
        limits["transaction_timeout"] = seconds
    set_locally = "".join(f"; SET LOCAL {name} = {int(value * 1000)}" for name, value in limits.items())
    alive = "; SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 3"
    if not durable:
        alive += "; SET LOCAL synchronous_commit = off"
    return f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE{set_locally}{alive}"
