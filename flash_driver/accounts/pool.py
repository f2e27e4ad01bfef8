"""Shares accounts among clients: a host may make a new client for every call.

The one piece of global state. Connections, to Flash and to the journal's database, belong to an event loop. They stay
open for some seconds after their last client was closed (`ProcessSettings.linger_seconds`), and listen to nothing
meanwhile; they close at once with the event loop, or when `Pool.aclose` says so. Sockets belong to a server and a
token, whatever else the connection strings say, and so does the listening for settlements. What is remembered of an
account (rates, what its server can do) belongs to the process and stays, and so does a journal in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, finalize

from flash_driver.accounts.account import Account
from flash_driver.accounts.listening import AccountListening
from flash_driver.accounts.memory import AccountMemory
from flash_driver.accounts.timing import Timing
from flash_driver.journal.memory import MemoryStore
from flash_driver.journal.store import make_store
from flash_driver.settlements.timing import TokenLooks
from flash_driver.transports.transport_set import TransportSet

if TYPE_CHECKING:
    from flash_driver.journal.store import JournalStore
    from flash_driver.journal.urls import JournalUrl
    from flash_driver.settings.account import FlashSettings
    from flash_driver.settings.process import ProcessSettings

__all__ = ["Pool", "shared_pool"]

_REMEMBERED: Final = 64
"""How many accounts are remembered while nobody uses them: a token that was replaced is forgotten some day."""


@dataclass(slots=True)
class _OnLoop:
    """What belongs to one event loop."""

    accounts: dict[tuple[FlashSettings, ProcessSettings], Account] = field(default_factory=dict)
    stores: dict[JournalUrl, JournalStore] = field(default_factory=dict)
    ways: dict[str, TransportSet] = field(default_factory=dict)
    listening: dict[tuple[str, ProcessSettings], AccountListening] = field(default_factory=dict)
    token_looks: TokenLooks = field(default_factory=TokenLooks)
    lingering: dict[Account, asyncio.Task[None]] = field(default_factory=dict)
    closing: set[Account] = field(default_factory=set)


class Pool:
    """Accounts by what their clients have in common.

    Args:
        timing: Every wait, pace and limit of each account.

    """

    def __init__(self, timing: Timing | None = None) -> None:
        self._timing = timing or Timing()
        self._memories: dict[tuple[str, JournalUrl], AccountMemory] = {}
        self._in_memory = MemoryStore()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _OnLoop] = WeakKeyDictionary()
        self._guard = threading.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    def acquire(self, user: object, settings: FlashSettings, process: ProcessSettings) -> Account:
        """Return the account on the running loop, kept open until `release` or until the user is gone."""
        loop = asyncio.get_running_loop()
        with self._guard:
            here = self._loops.get(loop) or self._take_up(loop)
            account = here.accounts.get((settings, process))
            if account is None:
                store, ways = self._store(here, process), self._ways(here, settings)
                memory, timing = self._memory(settings, process), self._timing
                key = settings.fingerprint, process
                if (listening := here.listening.get(key)) is None:
                    watching, looks = timing.watching, here.token_looks
                    listening = AccountListening(settings, process, memory, store, ways, watching, looks)
                    here.listening[key] = listening
                listening.add(settings)
                account = Account(settings, process, memory, ways, listening, timing)
                here.accounts[settings, process] = account
        if user not in account.users:
            # Garbage is collected in any thread and at any moment, so what is to be done is left to the event loop.
            account.users[user] = gone = finalize(user, self._leave_later, loop, account)
            gone.atexit = False
        return account

    async def release(self, user: object, account: Account) -> None:
        """Let go of an account, once the calls of the last to do so have come to their end.

        It is closed later, or now where it is not to linger, also when the caller is cancelled meanwhile. From another
        event loop than the account's own that is only begun.
        """
        if (gone := account.users.pop(user, None)) is not None:
            gone.detach()
        with self._guard:
            home = next((loop for loop, here in self._loops.items() if account in here.accounts.values()), None)
        if home is asyncio.get_running_loop():
            if (closing := self._leave(home, account)) is not None:
                await asyncio.shield(closing)
            elif not list(account.users):
                await asyncio.sleep(0)  # lets the task that lingers begin: cancelled before, it would close nothing
                await account.calls_ended()
        elif home is not None:
            self._leave_later(home, account)

    async def aclose(self) -> None:
        """Close now what lingers on the running loop; accounts that have clients stay open."""
        here = self._loops.get(asyncio.get_running_loop(), _OnLoop())
        lingering = list(here.lingering.values())
        for task in lingering:
            task.cancel()
        if lingering:
            await asyncio.wait(lingering)

    def _leave_later(self, loop: asyncio.AbstractEventLoop, account: Account) -> None:
        with contextlib.suppress(RuntimeError):  # a closed loop has nothing left to close on
            loop.call_soon_threadsafe(self._leave, loop, account)

    def _leave(self, loop: asyncio.AbstractEventLoop, account: Account) -> asyncio.Task[None] | None:
        """Let an account that nobody uses linger, on its own loop; return what closes it if it is not to linger."""
        if not account.process.linger_seconds:
            return self._close_if_deserted(loop, account)
        here = self._loops.get(loop)
        if here is not None and account in here.accounts.values() and not list(account.users):
            account.deserted_at = loop.time()
            if account not in here.lingering:
                name = "flash-driver account lingers"
                here.lingering[account] = loop.create_task(self._linger(loop, here, account), name=name)
        return None

    async def _linger(self, loop: asyncio.AbstractEventLoop, here: _OnLoop, account: Account) -> None:
        """Close an account after a while; at once where the event loop ends, which cancels every task."""
        with contextlib.suppress(asyncio.CancelledError):
            while not list(account.users):
                left = account.deserted_at + account.process.linger_seconds - loop.time()
                if left <= 0:
                    break
                await asyncio.sleep(left)
        del here.lingering[account]
        if (closing := self._close_if_deserted(loop, account)) is not None:
            await closing

    def _close_if_deserted(self, loop: asyncio.AbstractEventLoop, account: Account) -> asyncio.Task[None] | None:
        """Begin to close an account that nobody uses, on its own loop; goes on whatever becomes of who asked."""
        with self._guard:
            here = self._loops.get(loop, _OnLoop())
            key = next((key for key, known in here.accounts.items() if known is account), None)
            # Listed, because one that is being collected just now still counts in the length.
            if key is None or list(account.users):
                return None
            del here.accounts[key]
            here.closing.add(account)
        closing = loop.create_task(self._close(here, account), name="flash-driver closing")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def _close(self, here: _OnLoop, account: Account) -> None:
        try:
            await account.aclose()
        finally:
            async with contextlib.AsyncExitStack() as unneeded:
                # The last one first: listening uses the ways and the store.
                for each in self._unneeded(here, account):
                    unneeded.push_async_callback(each.aclose)

    def _unneeded(self, here: _OnLoop, account: Account) -> list[JournalStore | TransportSet | AccountListening]:
        """Take out what no account uses any more, now that this one is closed; one that closes may still have calls."""
        url, fingerprint = account.process.journal_url, account.settings.fingerprint
        with self._guard:
            here.closing.discard(account)
            others = [*here.accounts.values(), *here.closing]
            unneeded: list[JournalStore | TransportSet | AccountListening | None] = []
            if not any(other.process.journal_url == url for other in others):
                unneeded.append(here.stores.pop(url, None))
            if not any(other.settings.fingerprint == fingerprint for other in others):
                unneeded.append(here.ways.pop(fingerprint, None))
            key = fingerprint, account.process
            if not any((other.settings.fingerprint, other.process) == key for other in others):
                unneeded.append(here.listening.pop(key, None))
        return [each for each in unneeded if each is not None]

    def _take_up(self, loop: asyncio.AbstractEventLoop) -> _OnLoop:
        """Begin on an event loop, and forget those that are closed."""
        for old in [each for each in self._loops if each.is_closed()]:
            del self._loops[old]
        here = self._loops[loop] = _OnLoop()
        return here

    def _store(self, here: _OnLoop, process: ProcessSettings) -> JournalStore:
        url = process.journal_url
        if url.forgets:
            return self._in_memory
        if url not in here.stores:
            here.stores[url] = make_store(url, process.journal_keep_days)
        return here.stores[url]

    def _ways(self, here: _OnLoop, settings: FlashSettings) -> TransportSet:
        if settings.fingerprint not in here.ways:
            here.ways[settings.fingerprint] = TransportSet(settings, self._timing.connections, self._timing.session)
        return here.ways[settings.fingerprint]

    def _memory(self, settings: FlashSettings, process: ProcessSettings) -> AccountMemory:
        """Return what is known of an account; the one that was used last is the last to be forgotten."""
        key = (settings.fingerprint, process.journal_url)
        memory = self._memories[key] = self._memories.pop(key) if key in self._memories else AccountMemory()
        used = {id(account.memory) for here in self._loops.values() for account in here.accounts.values()}
        for old, known in list(self._memories.items())[:-_REMEMBERED]:
            # An end of a payment that no journal has yet must not be forgotten.
            if id(known) not in used and not known.unkept_payments:
                del self._memories[old]
        return memory


shared_pool: Final = Pool()
"""The pool of this process."""
