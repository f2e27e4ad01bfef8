"""The plain HTTP transport: one JSON POST with aiohttp."""

from __future__ import annotations

import asyncio
import email.utils
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from flash_driver.common import exact_json as wire
from flash_driver.flash_api.classify import LONGEST_WAIT
from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Evidence,
    Garbage,
    HttpStatus,
    NotConnected,
    Quota,
    TimedOut,
)
from flash_driver.transports.network import MAX_REPLY_BYTES, why_not_connected
from flash_driver.transports.post import PostTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from types import SimpleNamespace

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Operation

__all__ = ["HttpTransport", "read_quota", "read_reply", "read_retry_after"]

_QUOTA: Final = ("Limit", "Remaining", "Reset")
_MINUTE: Final = 60.0
_LONGEST_COUNT: Final = 10
"""How many digits a count or a time in seconds has at the most."""

_LONGEST_DATE: Final = 64


@dataclass(slots=True)
class _Progress:
    """How far a request got.

    Attributes:
        about_to_write: Called when it has a connection.
        connected: It has a connection: from here on it may have been written.
        refused: The status of a reply that is decided without its body.

    """

    about_to_write: Callable[[], None]
    connected: bool = False
    refused: HttpStatus | None = None


class HttpTransport(PostTransport):
    """GraphQL as one POST per operation."""

    name: Final = "http"

    def __init__(self, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(url, headers, tls)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, operation: Operation, connected_by: Deadline, deadline: Deadline) -> Evidence:
        """Post an operation once; redirects are not followed and replies have a size limit."""
        progress = _Progress(operation.about_to_write)
        try:
            async with asyncio.timeout_at(deadline.at):
                if not operation.fresh_connection:
                    session = self._session = self._session or self._open()
                    return await self._post(session, operation.written, connected_by, progress)
                async with self._open() as session:
                    return await self._post(session, operation.written, connected_by, progress)
        except TimeoutError:
            return progress.refused or (
                TimedOut() if progress.connected else NotConnected("not connected in time", Cause.SLOW)
            )
        except aiohttp.ClientConnectorError as error:
            return NotConnected(why_not_connected(error.os_error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if not progress.connected:
                return NotConnected(why_not_connected(error))
            return progress.refused or Garbage(f"the connection was lost ({type(error).__name__})")

    async def close_connections(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(
        self, session: aiohttp.ClientSession, body: bytes, connected_by: Deadline, progress: _Progress
    ) -> Evidence:
        async with session.post(
            self._url,
            data=body,
            allow_redirects=False,
            trace_request_ctx=progress,
            timeout=aiohttp.ClientTimeout(total=None, connect=connected_by.remaining, ceil_threshold=math.inf),
        ) as response:
            if response.status != 200:
                progress.refused = HttpStatus(response.status, read_retry_after(response.headers))
            text = await _read_limited(response)
            if text is None:
                return progress.refused or Garbage("a reply larger than the limit")
            return read_reply(response.status, response.headers, text)

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=64, ssl=self._tls if self._tls is not None else True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trace_configs=[_trace()],
            auto_decompress=False,
        )


def read_reply(status: int, headers: Mapping[str, str], text: bytes) -> Evidence:
    """Turn an HTTP reply into evidence; a GraphQL body under another status than 200 keeps its errors."""
    try:
        body = wire.decode(text)
    except wire.MalformedJSON:
        body = None
    errors = body.get("errors") if isinstance(body, dict) else None
    errors = tuple(row for row in errors if isinstance(row, dict)) if isinstance(errors, list) else ()
    if status != 200:
        return HttpStatus(status, read_retry_after(headers), errors)
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, dict) or (data is None and errors):
        return Answer(data, errors, read_quota(headers, errors))
    return Garbage("HTTP 200 with a body that is no GraphQL response")


def read_retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read `Retry-After`, whole seconds or a date by the clock of the server that gives it (RFC 9110 10.2.3).

    Returns:
        From nothing to a day, whatever the server says; None where it says nothing that can be read.

    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 8:
        return min(timedelta(seconds=int(value)), LONGEST_WAIT)
    if (moment := _read_date(value)) is None:
        return None
    now = _read_date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max(timedelta(0), moment - now), LONGEST_WAIT)


def read_quota(headers: Mapping[str, str], errors: Sequence[Mapping[str, Any]] = ()) -> Quota | None:
    """Read what an answer tells of an API key's limit: in its headers, or where it refuses (flash-server.md 1.4)."""
    limit, remaining, resets_at = (_read_count(headers.get(f"X-RateLimit-{name}")) for name in _QUOTA)
    if limit is not None and remaining is not None:
        now = _read_date(headers.get("Date", "")) or datetime.now(UTC)
        seconds = 0.0 if resets_at is None else resets_at - now.timestamp()
        return Quota(limit, remaining, timedelta(seconds=seconds if 0 < seconds <= _MINUTE else _MINUTE))
    for error in errors:
        told = error.get("extensions")
        told = told.get("rateLimit") if isinstance(told, dict) else None
        if isinstance(told, dict) and (limit := _read_count(told.get("limit"))) is not None:
            return Quota(limit, _read_count(told.get("remaining")) or 0, timedelta(seconds=_MINUTE))
    return None


def _read_count(value: object) -> int | None:
    """Read a number of no more than ten digits, as a header or JSON writes it; None for anything else."""
    if isinstance(value, str) and len(value) <= _LONGEST_COUNT and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and 0 <= value < 10**_LONGEST_COUNT else None


def _read_date(value: str) -> datetime | None:
    """Read a date of HTTP (RFC 9110 5.6.7); None where it is none."""
    try:
        moment = email.utils.parsedate_to_datetime(value[:_LONGEST_DATE])
    except (ValueError, TypeError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


async def _read_limited(response: aiohttp.ClientResponse) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _trace() -> aiohttp.TraceConfig:
    """Note when a request has got a connection: before that nothing of it was written."""
    config = aiohttp.TraceConfig()

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
        context.trace_request_ctx.connected = True
        context.trace_request_ctx.about_to_write()

    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(connected)
    return config
