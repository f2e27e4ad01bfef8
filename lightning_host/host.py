"""What every route group stands on, opened and closed together."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from lightning_host.budgets import Budgets
from lightning_host.client_limits import ClientShares, WrongKeys
from lightning_host.database import Database
from lightning_host.invoices import HostInvoices
from lightning_host.rotation import Rotation
from lightning_host.settlements.lookups import InvoiceLookups
from lightning_host.settlements.settlements import Settlements
from lightning_host.stores import Stores
from lightning_host.tasks import Background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from connection_strings import LightningClientFactory
    from lightning_host.settings import HostSettings

__all__ = ["HOST", "Host", "open_host"]


@dataclass(frozen=True, slots=True)
class Host:
    """The parts of one running host.

    Attributes:
        settings: How it is set up.
        stores: The shops and their wallets.
        database: What is remembered.
        invoices: Makes invoices and knows what they were made for.
        settlements: Hears of settled invoices.
        lookups: Asks wallets about single invoices.
        budgets: Limits how often something is done, across replicas.
        shares: Limits how often one client does something, in this replica.
        wrong_keys: Slows clients down that show wrong keys.
        background: Sees payments to their end when the client has hung up.
        rotation: Changes connection strings while the host runs.

    """

    settings: HostSettings
    stores: Stores
    database: Database
    invoices: HostInvoices
    settlements: Settlements
    lookups: InvoiceLookups
    budgets: Budgets
    shares: ClientShares
    wrong_keys: WrongKeys
    background: Background
    rotation: Rotation

    def url(self, path: str) -> str:
        """Return the URL of a path as payers reach it: from the settings, never from a request."""
        return f"{self.settings.base_url}{path}"


HOST: Final = web.AppKey("host", Host)
"""Where an application keeps its host: `request.app[HOST]`."""


@asynccontextmanager
async def open_host(settings: HostSettings, factory: LightningClientFactory) -> AsyncIterator[Host]:
    """Open wallets and database, and listen once the block begins to run.

    Raises:
        ConnectionStringError: A store's connection string can't be used.
        SettingsError: The database URL can't be used.

    """
    async with AsyncExitStack() as stack:
        stores = Stores.load(settings.all_stores, factory)
        stack.push_async_callback(stores.aclose)
        database = await Database.open(settings.database_url)
        stack.push_async_callback(database.aclose)
        settlements = Settlements(database, stores)
        stack.push_async_callback(settlements.aclose)
        background = Background()
        stack.push_async_callback(background.aclose)
        yield Host(
            settings=settings,
            stores=stores,
            database=database,
            invoices=HostInvoices(database),
            settlements=settlements,
            lookups=InvoiceLookups(settlements),
            budgets=Budgets(database),
            shares=ClientShares(),
            wrong_keys=WrongKeys(),
            background=background,
            rotation=Rotation(settings, stores, settlements, factory),
        )
