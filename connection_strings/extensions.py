"""What a driver may do beyond the contract; a host finds out with `isinstance`, which tells a type checker, too.

client = factory.create(text)
if isinstance(client, WarmsUp):
    await client.warm_up()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["BackendHealth", "TellsHealth", "WarmsUp", "WatchHealth"]


class BackendHealth(Protocol):
    """How a backend stands; a driver may tell more."""

    @property
    def last_answer_at(self) -> datetime | None:
        """When the backend last answered anything; None when it has not yet."""
        ...

    @property
    def outage(self) -> str | None:
        """For how long it has answered nothing, and why, for a person; None while it answers."""
        ...


@runtime_checkable
class WatchHealth(BackendHealth, Protocol):
    """What a driver that watches its invoices may tell besides."""

    @property
    def pending(self) -> int:
        """How many invoices are being watched: unpaid ones, and those that expired lately."""
        ...

    @property
    def connected(self) -> bool:
        """Whether a connection to the backend is open on which it tells of payments by itself."""
        ...


@runtime_checkable
class TellsHealth(Protocol):
    """A `LightningClient` that knows how its backend stands; a client need not."""

    @property
    def health(self) -> BackendHealth:
        """How the backend stands now, without asking it."""
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """A `LightningClient` that can connect ahead of the first invoice; a client need not."""

    async def warm_up(self) -> None:
        """Connect, and find out what the first invoice needs.

        Raises:
            LightningError: The backend can't be reached, or refuses the credential.

        """
        ...
