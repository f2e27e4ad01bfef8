"""Changing a store's connection string while the host runs: a token lives for weeks, a host for months.

Where `CONNECTION_STRING_FILE` or `STORES_FILE` names a file, the file is read again when it changes, and on SIGHUP. A
store whose connection string is another one then gets a new client. The client before serves until the new one is
proved: server, token and wallet work, and settlements are heard from where the store stands. Calls that are under way
end at the client before. What can't be used changes nothing; the log says so, and it is tried again later.

Everything else that these files hold takes effect at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from connection_strings import InvalidRequest, LightningError
from lightning_host.settings import ENV_PREFIX, HostSettings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from connection_strings import LightningClientFactory, Secret
    from lightning_host.settlements.settlements import Settlements
    from lightning_host.stores import Store, Stores

__all__ = ["Rotation"]

_log: Final = logging.getLogger("lightning_host")
_FILES: Final = ("CONNECTION_STRING_FILE", "STORES_FILE")
_LOOK_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 60.0
"""After what time a connection string that could not be used is tried again: the server may have been down."""
_PROOF_SECONDS: Final = 30.0


class Rotation:
    """Gives stores new clients when their connection strings change, while `run` runs.

    Args:
        settings: How the host was started.
        stores: The stores.
        settlements: What listens to their wallets.
        factory: Where clients come from.
        read: Reads the settings again.

    Attributes:
        asked: Set it to have everything read again now, as SIGHUP does.

    """

    def __init__(
        self,
        settings: HostSettings,
        stores: Stores,
        settlements: Settlements,
        factory: LightningClientFactory,
        read: Callable[[], HostSettings] = HostSettings.from_environment,
    ) -> None:
        self._stores = stores
        self._settlements = settlements
        self._factory = factory
        self._read = read
        self._in_use = {name: store.connection_string for name, store in settings.all_stores.items()}
        self._files = [Path(path) for name in _FILES if (path := os.environ.get(f"{ENV_PREFIX}{name}"))]
        self._told: dict[str, str] = {}
        self.asked = asyncio.Event()

    async def run(self) -> None:
        """Look at the files again and again, until cancelled."""
        seen = self._state_of_files()
        loop = asyncio.get_running_loop()
        again_at: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self.asked.wait()
            state = self._state_of_files()
            due = again_at is not None and loop.time() >= again_at
            if not (self.asked.is_set() or state != seen or due):
                continue
            if self.asked.is_set() or state != seen:
                self._told.clear()  # somebody did something, and wants to read what came of it
            self.asked.clear()
            seen = state
            again_at = None if await self._take_over() else loop.time() + _AGAIN_SECONDS

    def _state_of_files(self) -> list[tuple[int, int, int] | None]:
        """Return what tells a file that was written or replaced from the one before."""
        found: list[tuple[int, int, int] | None] = []
        for path in self._files:
            try:
                state = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((state.st_ino, state.st_mtime_ns, state.st_size))
        return found

    async def _take_over(self) -> bool:
        """Read everything again, and give new clients to stores with a new connection string; tell if all have one."""
        try:
            settings = self._read()
        except SettingsError as error:
            self._tell("", f"every store keeps its connection string: {error}")
            return False
        given = {name: store.connection_string for name, store in settings.all_stores.items()}
        if given.keys() != self._in_use.keys():
            self._tell("", "stores that were added or taken away come and go at the next start")
        changed = [store for store in self._stores if store.id in given and given[store.id] != self._in_use[store.id]]
        if not changed:
            self._tell("", "the settings were read again: no connection string is another one")
        return all([await self._change(store, given[store.id]) for store in changed])

    async def _change(self, store: Store, connection_string: Secret) -> bool:
        """Give a store a new client, once it is proved; tell whether it has it now."""
        try:
            async with asyncio.timeout(_PROOF_SECONDS):
                await self._prove(store, connection_string)
        except InvalidRequest as error:
            words = f"it opens another wallet, which needs a restart ({error})"
        except LightningError as error:
            words = str(error)
        except TimeoutError:
            words = f"its wallet did not answer within {_PROOF_SECONDS:.0f} s"
        except (SQLAlchemyError, OSError) as error:
            words = f"database trouble ({type(error).__name__})"
        except Exception as error:  # noqa: BLE001 - a fault of a driver must not end the watch
            words = f"its driver failed with {type(error).__name__}"
        else:
            self._in_use[store.id] = connection_string
            self._told.pop(store.id, None)
            _log.warning("store %s uses its new connection string", store.id)
            return True
        self._tell(store.id, f"store {store.id} keeps its connection string: the new one can't be used: {words}")
        return False

    async def _prove(self, store: Store, connection_string: Secret) -> None:
        """Let a new client show that it works, then put it in the place of the one before."""
        client = self._factory.create(connection_string.reveal())
        try:
            await client.validate()
            await self._settlements.change_to(store, client)
        except BaseException:
            await client.aclose()
            raise
        self._stores.replace_client(store, client)

    def _tell(self, about: str, words: str) -> None:
        """Say something in the log, once until it is something else."""
        if self._told.get(about) != words:
            self._told[about] = words
            _log.warning("%s", words)
