"""What the ways over HTTP have in common: each request is a POST, and the answer of a creation may be wanted late.

A payment is asked about again, under its key, instead (flash-server.md 3.7).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import TaskSet
from flash_driver.flash_api.documents import WriteMark
from flash_driver.flash_api.outcomes import Cause, Evidence, Garbage, Kind, NotConnected, NotWritten, TimedOut
from flash_driver.transports.network import JSON_HEADERS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine, Mapping

    from flash_driver.flash_api.documents import Document, Operation
    from flash_driver.transports.base import Late, Link

__all__ = ["PostTransport"]

_LATE_SECONDS: Final = 10.0
"""For how long after its time an answer is waited for, where it is wanted late."""

_log: Final = get_logger()


class PostTransport(ABC):
    """A way that needs no connection beforehand: each request gets one, a kept or a fresh one, as it is posted.

    Args:
        url: The GraphQL endpoint.
        headers: The credential and what else goes with each request.
        tls: TLS settings for https.

    """

    prober: Final = None
    anonymous: Final = False
    shows_credential: Final = True
    counts_as: Final[Mapping[Document, Document]] = {}

    def __init__(self, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._headers = {**headers, **JSON_HEADERS}
        self._tls = tls
        self._posting = TaskSet()

    async def ready(self, deadline: Deadline) -> Link:
        """Return a link that gets its connection by this deadline."""
        return _Post(self, deadline)

    async def aclose(self) -> None:
        """Close the connections, and wait for no late answer any more; the next request opens new ones."""
        try:
            await self.close_connections()
        finally:
            await self._posting.aclose()

    @abstractmethod
    async def post(self, operation: Operation, connected_by: Deadline, deadline: Deadline) -> Evidence:
        """Post an operation, and report what was seen by the deadline."""

    @abstractmethod
    async def close_connections(self) -> None:
        """Close the connections; the next request opens new ones."""

    async def post_wanted_late(
        self, operation: Operation, connected_by: Deadline, deadline: Deadline, late: Late
    ) -> Evidence:
        """Do the same for a creation whose answer is wanted although its caller may be gone by then.

        What is not being written when the caller leaves never will be.
        """
        mark = WriteMark(operation.about_to_write)
        noted = replace(operation, about_to_write=mark)
        later = Deadline(deadline.at + _LATE_SECONDS)
        posting = self._posting.start(_without_frames(self.post(noted, connected_by, later)), "http request")
        try:
            await asyncio.wait([posting], timeout=deadline.remaining)
        except asyncio.CancelledError:
            _leave(posting, mark, late)
            raise
        if not posting.done():
            _leave(posting, mark, late)
            return TimedOut() if mark.begun else NotConnected("not connected in time", Cause.SLOW)
        return Garbage("the connection was closed") if posting.cancelled() else posting.result()


@dataclass(frozen=True, slots=True)
class _Post:
    """One request to come, and by when it has to have a connection."""

    transport: PostTransport
    connected_by: Deadline

    async def execute(self, operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:
        """Post the operation."""
        if deadline.passed or self.connected_by.passed:
            return NotWritten("no time was left to write the request")
        if late is not None and operation.document.kind is Kind.CREATE:
            return await self.transport.post_wanted_late(operation, self.connected_by, deadline, late)
        return await _without_frames(self.transport.post(operation, self.connected_by, deadline))


async def _without_frames(posting: Coroutine[Any, Any, Evidence]) -> Evidence:
    """Hide the frames of HTTP libraries: they hold the header with the token; a host may print tracebacks in full."""
    try:
        return await posting
    except asyncio.CancelledError as cancelled:
        raise cancelled.with_traceback(None) from None


def _leave(posting: asyncio.Task[Evidence], mark: WriteMark, late: Late) -> None:
    """End a request that is not written yet; have the answer to any other go to `late`."""
    if mark.begun:
        posting.add_done_callback(partial(_tell, late))
    else:
        posting.cancel()


def _tell(late: Late, posting: asyncio.Task[Evidence]) -> None:
    if posting.cancelled() or posting.exception() is not None or isinstance(posting.result(), TimedOut):
        return
    try:
        late(posting.result())
    except Exception as error:  # noqa: BLE001 - somebody else's code, called by the event loop
        _log.error("a late answer could not be taken in", error=type(error).__name__)
