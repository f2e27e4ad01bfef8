"""The shops of this host: each has a wallet, keys and names of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from connection_strings.errors import ConnectionStringError
from lightning_host.credentials import EVERYTHING, READING, RECEIVING, matches
from lightning_host.tasks import TaskSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connection_strings import LightningClient, LightningClientFactory, Secret
    from lightning_host.credentials import Permission
    from lightning_host.settings import StoreSettings

__all__ = ["Store", "Stores"]

_LAST_CALLS_SECONDS: Final = 60.0
"""How long a client that was replaced is kept for the calls that are under way: a payment takes half of it."""


@dataclass(slots=True, eq=False)
class Store:
    """One shop, with its wallet open.

    Attributes:
        id: What it is called in URLs.
        client: Its wallet, of whatever type its connection string names. It may be replaced between two calls: take it
            from here for each.
        settings: Its keys and names.

    """

    id: str
    client: LightningClient
    settings: StoreSettings

    @property
    def title(self) -> str:
        """What payers read."""
        return self.settings.title or self.id

    @property
    def addresses(self) -> tuple[str, ...]:
        """The names of its Lightning addresses, its id first."""
        return (self.id, *self.settings.addresses)

    @property
    def keys(self) -> tuple[tuple[Secret, frozenset[Permission]], ...]:
        """Its API keys, and what each may do."""
        kinds = (
            (self.settings.api_keys, EVERYTHING),
            (self.settings.receive_keys, RECEIVING),
            (self.settings.read_keys, READING),
        )
        return tuple((key, permissions) for keys, permissions in kinds for key in keys)


class Stores:
    """Every shop of this host, found by id, by key, by password or by Lightning address."""

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = dict(stores)
        self._retiring = TaskSet()

    @classmethod
    def load(cls, settings: Mapping[str, StoreSettings], factory: LightningClientFactory) -> Self:
        """Make the client of each store; opens no connection.

        Raises:
            ConnectionStringError: A connection string can't be used.

        """
        stores: dict[str, Store] = {}
        for name, store in settings.items():
            try:
                stores[name] = Store(name, factory.create(store.connection_string.reveal()), store)
            except ConnectionStringError as error:
                words = f"the connection string of store {name} can't be used: {error}"
                raise ConnectionStringError(words, key=error.key) from None
        return cls(stores)

    def __iter__(self) -> Iterator[Store]:
        return iter(self._stores.values())

    def __len__(self) -> int:
        return len(self._stores)

    def get(self, store_id: str) -> Store | None:
        """Return the store with this id."""
        return self._stores.get(store_id)

    def by_key(self, key: str) -> tuple[tuple[Store, frozenset[Permission]], ...]:
        """Return the stores that an API key opens, and what it may do there; compares with every key in any case."""
        return tuple(
            [(store, permissions) for store in self for secret, permissions in store.keys if matches(key, secret)]
        )

    def by_password(self, password: str) -> tuple[Store, bool] | None:
        """Return the store that a phoenixd password opens, and whether it may pay; compares with every one of them."""
        found = [
            (store, may_pay)
            for store in self
            for secret, may_pay in (
                (store.settings.phoenixd_password, True),
                (store.settings.phoenixd_limited_password, False),
            )
            if secret is not None and matches(password, secret)
        ]
        return found[0] if found else None

    def by_address(self, name: str) -> Store | None:
        """Return the store whose Lightning address has this name before the `@` (LUD-16: lower case)."""
        return next((store for store in self if name in store.addresses), None)

    def replace_client(self, store: Store, client: LightningClient) -> None:
        """Let a store's next calls go to another client of its wallet; those under way end at the one before."""
        before, store.client = store.client, client
        self._retiring.start(_retire(before), f"the earlier client of {store.id}")

    async def aclose(self) -> None:
        """Let go of every wallet."""
        await self._retiring.aclose()
        for store in self:
            await store.client.aclose()


async def _retire(client: LightningClient) -> None:
    """Close a client once its last calls have had time to end, or now when the host closes."""
    try:
        await asyncio.sleep(_LAST_CALLS_SECONDS)
    finally:
        await client.aclose()
