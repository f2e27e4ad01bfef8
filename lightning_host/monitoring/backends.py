"""Whether the wallets' backends answer, as far as their drivers tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connection_strings import TellsHealth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connection_strings import BackendHealth
    from lightning_host.stores import Store

__all__ = ["backends"]


def backends(stores: Iterable[Store]) -> dict[str, BackendHealth]:
    """Return how the backend of each store stands, by the store's id; a driver that does not tell is left out."""
    return {store.id: store.client.health for store in stores if isinstance(store.client, TellsHealth)}
