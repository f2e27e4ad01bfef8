"""Shares accounts among clients: a host may make a new client for every call.

The one piece of global state. Connections belong to an event loop and close with their last client; what is remembered
of an account (journal, rates, what its server can do) belongs to the process and stays.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from flash_driver.account import Account, AccountMemory

if TYPE_CHECKING:
    from flash_driver.settings import FlashSettings, ProcessSettings

__all__ = ["Pool", "shared_pool"]


class Pool:
    """Accounts by what their clients have in common."""

    def __init__(self) -> None:
        self._memories: dict[tuple[str, str], AccountMemory] = {}
        self._accounts: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[tuple[FlashSettings, ProcessSettings], Account]
        ] = WeakKeyDictionary()
        self._guard = threading.Lock()

    def acquire(self, user: object, settings: FlashSettings, process: ProcessSettings) -> Account:
        """Return the account on the running loop, kept open until `release` or until the user is gone.

        Raises:
            ConnectionStringError: The journal that is set can't be used.

        """
        loop = asyncio.get_running_loop()
        with self._guard:
            accounts = self._accounts.setdefault(loop, {})
            account = accounts.get((settings, process))
            if account is None:
                account = accounts[settings, process] = Account(settings, process, self._memory(settings, process))
            account.users.add(user)
            return account

    async def release(self, user: object, account: Account) -> None:
        """Let go of an account; the last one to do so closes it."""
        account.users.discard(user)
        if account.users:
            return
        with self._guard:
            accounts = self._accounts.get(asyncio.get_running_loop(), {})
            for key in [key for key, known in accounts.items() if known is account]:
                del accounts[key]
        await account.aclose()

    def _memory(self, settings: FlashSettings, process: ProcessSettings) -> AccountMemory:
        key = (settings.fingerprint, process.journal_url)
        if key not in self._memories:
            self._memories[key] = AccountMemory.make(process)
        return self._memories[key]


shared_pool: Final = Pool()
"""The pool of this process."""
