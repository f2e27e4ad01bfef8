"""What a request needs before it is written, where the server counts requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flash_driver.flash_api.documents import Document

__all__ = ["Admission"]


class Admission(Protocol):
    """Counts each request that is written, and stops what would be one too many."""

    async def admit(self, document: Document) -> None:
        """Count a request; the next thing that happens is that it is written.

        Raises:
            LightningError: It must not be written.

        """
        ...

    def give_back(self, document: Document) -> None:
        """Take note that the request admitted last was certainly not executed."""
        ...
