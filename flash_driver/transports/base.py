"""What every way to the server offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Operation
    from flash_driver.flash_api.outcomes import Evidence

__all__ = ["Transport"]


class Transport(Protocol):
    """One way to the server."""

    @property
    def name(self) -> str:
        """The name in the connection string's `transports`: websocket, http or graphql."""
        ...

    async def perform(self, operation: Operation, deadline: Deadline) -> Evidence:
        """Carry one operation and report what was seen; connects first if need be.

        Never raises for anything that the server or the network does, and never takes longer than the deadline.

        Raises:
            asyncio.CancelledError: The caller was cancelled; the operation may have been carried out.

        """
        ...

    async def aclose(self) -> None:
        """Close connections; the next `perform` opens them again."""
        ...
