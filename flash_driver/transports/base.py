"""What every way to the server offers: to get ready, and then to carry one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from flash_driver.flash_api.outcomes import Cause, Evidence, NotConnected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Document, Operation

__all__ = ["Admission", "Late", "Link", "NotReady", "Prober", "Transport", "perform"]

Late: TypeAlias = Callable[[Evidence], None]
"""Takes an answer that comes after its caller stopped waiting."""


class NotReady(Exception):
    """No usable connection came about, so nothing was written.

    Attributes:
        why: The reason, for a person.
        cause: What kind of trouble it is.

    """

    def __init__(self, why: str, cause: Cause = Cause.UNREACHABLE) -> None:
        super().__init__(why)
        self.why = why
        self.cause = cause

    @property
    def evidence(self) -> NotConnected:
        """What a transport reports of it."""
        return NotConnected(self.why, self.cause)


class Link(Protocol):
    """What one request is sent over; got from `Transport.ready` and used at once."""

    async def execute(self, operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:
        """Carry one operation and report what was seen.

        Never raises for anything that the server or the network does, and never takes longer than the deadline.

        Args:
            operation: What to send.
            deadline: When to stop waiting for the answer.
            late: Called with an answer that comes after that, or after the caller was cancelled; over HTTP only with
                that of a creation.

        Raises:
            asyncio.CancelledError: The caller was cancelled; the operation may have been carried out.

        """
        ...


class Prober(Protocol):
    """Finds out whether a server executes operations on a way where it may take subscriptions only."""

    @property
    def connected(self) -> bool:
        """Whether a request could be written at once."""
        ...

    @property
    def handshake_seconds(self) -> float | None:
        """How long the handshake of the last connection took; None before the first one."""
        ...

    @property
    def subscribed(self) -> bool:
        """Whether subscriptions live there, which a strict server ends when it is asked anything."""
        ...

    def open_ahead(self) -> None:
        """Begin to connect for requests to come."""
        ...

    async def probe(self, deadline: Deadline) -> Evidence:
        """Ask a harmless question that does no harm to subscriptions either."""
        ...


class Transport(Protocol):
    """One way to the server."""

    @property
    def name(self) -> str:
        """The name in the connection string's `transports`, such as `websocket` or `http`."""
        ...

    @property
    def prober(self) -> Prober | None:
        """Whom to ask before the first mutation; None where a server executes what it accepts."""
        ...

    @property
    def counts_as(self) -> Mapping[Document, Document]:
        """Which documents the server counts as others, against its limits; all others as what they are."""
        ...

    @property
    def anonymous(self) -> bool:
        """Whether no request shows a credential."""
        ...

    @property
    def shows_credential(self) -> bool:
        """Whether each request shows the credential, so that its answer is the server's present word on that."""
        ...

    async def ready(self, deadline: Deadline) -> Link:
        """Return what the next request is sent over, connecting first if need be.

        Args:
            deadline: When the connection has to be there.

        Raises:
            NotReady: There is none by then, with the reason.

        """
        ...

    async def aclose(self) -> None:
        """Close connections; the next request opens them again."""
        ...


async def perform(transport: Transport, operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:
    """Carry one operation over one transport, connecting first if need be."""
    try:
        link = await transport.ready(deadline)
    except NotReady as failure:
        return failure.evidence
    return await link.execute(operation, deadline, late)


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
