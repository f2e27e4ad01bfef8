"""Shares accounts among clients: a host may make a new client for every call.

The one piece of global state. Connections, to Flash and to the journal's database, belong to an event loop and close
with their last client; what is remembered of an account (rates, what its server can do) belongs to the process and
stays, and so does a journal in memory.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from flash_driver.account import Account, AccountMemory
from flash_driver.journal.store import MemoryStore, make_store

if TYPE_CHECKING:
    from flash_driver.journal.store import JournalStore
    from flash_driver.journal.urls import JournalUrl
    from flash_driver.settings import FlashSettings, ProcessSettings

__all__ = ["Pool", "shared_pool"]


@dataclass(slots=True)
class _OnLoop:
    """What belongs to one event loop."""

    accounts: dict[tuple[FlashSettings, ProcessSettings], Account] = field(default_factory=dict)
    stores: dict[JournalUrl, JournalStore] = field(default_factory=dict)


class Pool:
    """Accounts by what their clients have in common."""

    def __init__(self) -> None:
        self._memories: dict[tuple[str, JournalUrl], AccountMemory] = {}
        self._in_memory = MemoryStore()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _OnLoop] = WeakKeyDictionary()
        self._guard = threading.Lock()

    def acquire(self, user: object, settings: FlashSettings, process: ProcessSettings) -> Account:
        """Return the account on the running loop, kept open until `release` or until the user is gone."""
        loop = asyncio.get_running_loop()
        with self._guard:
            self._forget_closed_loops()
            here = self._loops.setdefault(loop, _OnLoop())
            account = here.accounts.get((settings, process))
            if account is None:
                store = self._store(here, process.journal_url)
                account = Account(settings, process, self._memory(settings, process), store)
                here.accounts[settings, process] = account
            account.users.add(user)
            return account

    async def release(self, user: object, account: Account) -> None:
        """Let go of an account; the last one to do so closes it, also when he is cancelled meanwhile."""
        account.users.discard(user)
        if account.users:
            return
        here = self._loops.get(asyncio.get_running_loop(), _OnLoop())
        with self._guard:
            for key in [key for key, known in here.accounts.items() if known is account]:
                del here.accounts[key]
        await asyncio.shield(asyncio.create_task(self._close(here, account), name="flash-driver closing"))

    async def _close(self, here: _OnLoop, account: Account) -> None:
        try:
            await account.aclose()
        finally:
            url = account.process.journal_url
            with self._guard:
                needed = any(process.journal_url == url for _, process in here.accounts)
                store = None if needed else here.stores.pop(url, None)
            if store is not None:
                await store.aclose()

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._loops if loop.is_closed()]:
            del self._loops[loop]

    def _store(self, here: _OnLoop, url: JournalUrl) -> JournalStore:
        if url.forgets:
            return self._in_memory
        if url not in here.stores:
            here.stores[url] = make_store(url)
        return here.stores[url]

    def _memory(self, settings: FlashSettings, process: ProcessSettings) -> AccountMemory:
        key = (settings.fingerprint, process.journal_url)
        if key not in self._memories:
            self._memories[key] = AccountMemory.make(process)
        return self._memories[key]


shared_pool: Final = Pool()
"""The pool of this process."""
