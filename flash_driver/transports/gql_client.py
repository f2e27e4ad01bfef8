"""The full GraphQL client: `gql.Client` over its httpx transport, the last way to be tried."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gql import Client, GraphQLRequest
from gql.transport import httpx as gql_httpx
from gql.transport.exceptions import (
    TransportConnectionFailed,
    TransportError,
    TransportQueryError,
)

from flash_driver.common import exact_json as wire
from flash_driver.common.log import get_logger
from flash_driver.common.masking import mask_tokens
from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Evidence,
    Garbage,
    HttpStatus,
    NotConnected,
    TimedOut,
)
from flash_driver.transports.http import read_quota, read_retry_after
from flash_driver.transports.network import MAX_REPLY_BYTES, why_not_connected
from flash_driver.transports.post import PostTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from gql.client import AsyncClientSession

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Operation

__all__ = ["GraphQLTransport", "PrintedRequest"]

_log: Final = get_logger(transport="graphql")

_EARLY_SECONDS: Final = 0.05
_NO_RESPONSE: Final = "HTTP 200 with a body that is no GraphQL response"
_TOO_LATE: Final = "not connected in time"
_THEIR_LOGGERS: Final = ("gql.transport.httpx", "httpx", "httpcore.connection", "httpcore.http11")
"""They tell at DEBUG all that a server says, and it may repeat the token."""
_httpx: Final[Any] = gql_httpx.httpx  # type: ignore[attr-defined]  # httpx2 where that is installed: what gql itself uses


class PrintedRequest(GraphQLRequest):
    """A gql request that goes out as it is written: printing it costs more than all the rest (architecture.md)."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.document.node, variable_values=dict(operation.variables))
        self.operation_name = operation.document.name
        self._payload = operation.payload

    @property
    def payload(self) -> dict[str, Any]:
        """The request, ready to be written as JSON."""
        return self._payload


class GraphQLTransport(PostTransport):
    """GraphQL over HTTP by `gql.Client`."""

    name: Final = "graphql"

    def __init__(self, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(url, headers, tls)
        self._client: Client | None = None
        self._session: AsyncClientSession | None = None
        self._connecting = asyncio.Lock()

    async def post(self, operation: Operation, connected_by: Deadline, deadline: Deadline) -> Evidence:
        """Execute an operation through the client's session."""
        seen = _Seen(operation.about_to_write, fresh=operation.fresh_connection)
        token = _seen.set(seen)
        try:
            async with asyncio.timeout_at(deadline.at):
                session = await self._connected_session()
                result = await session.execute(
                    PrintedRequest(operation),
                    get_execution_result=True,
                    extra_args={
                        # gql would have httpx write the JSON, which knows no Decimal.
                        "content": operation.written,
                        "timeout": _timeouts(connected_by, deadline),
                    },
                )
        except TimeoutError:
            return seen.refused() or (NotConnected(_TOO_LATE, Cause.SLOW) if seen.unwritten else TimedOut())
        except TransportError as error:
            return _evidence_of(error, seen)
        except Exception as error:  # noqa: BLE001 - on odd replies gql raises whatever its parts raise (architecture.md)
            _log.debug("gql could not read the reply", error=type(error).__name__)
            return seen.refused() or Garbage(_NO_RESPONSE)
        finally:
            _seen.reset(token)
        if isinstance(result.data, dict):
            return seen.refused() or Answer(result.data, quota=read_quota(seen.headers))
        return seen.refused() or Garbage(_NO_RESPONSE)

    async def close_connections(self) -> None:
        """Close the connections; the next request opens new ones."""
        async with self._connecting:
            client, self._client, self._session = self._client, None, None
            if client is not None:
                await client.close_async()  # type: ignore[no-untyped-call]  # gql leaves it so

    async def _connected_session(self) -> AsyncClientSession:
        async with self._connecting:
            if self._session is None:
                transport = gql_httpx.HTTPXAsyncTransport(
                    self._url,
                    json_serialize=wire.encode,
                    json_deserialize=wire.decode,
                    headers=self._headers,
                    follow_redirects=False,
                    trust_env=False,
                    transport=_watched_transport(self._tls),
                )
                for name in _THEIR_LOGGERS:
                    logging.getLogger(name).addFilter(_MASKING)
                self._client = Client(transport=transport, execute_timeout=None, fetch_schema_from_transport=False)
                self._session = await self._client.connect_async()  # type: ignore[no-untyped-call]  # as above
            return self._session


class _Masking(logging.Filter):
    """Keeps the credentials in use out of what these libraries log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass, masked."""
        told = record.getMessage()
        if (masked := mask_tokens(told)) != told:
            record.msg, record.args = masked, ()
        return True


_MASKING: Final = _Masking()


def _timeouts(connected_by: Deadline, deadline: Deadline) -> Any:
    """Return limits for httpx a little before the deadlines: it says in which phase it stood, and cleans up itself."""
    answered, connected = (max(0.001, each.remaining - _EARLY_SECONDS) for each in (deadline, connected_by))
    return _httpx.Timeout(answered, connect=connected, pool=connected)


@dataclass(slots=True)
class _Seen:
    """What passed below gql while one request was under way: gql keeps no HTTP status (architecture.md).

    Attributes:
        about_to_write: Called before anything of it may be written.
        fresh: Whether a kept connection won't do.
        unwritten: Nothing of the request can have been written yet.
        status: The status of the reply.
        headers: Those of the reply.
        trouble: Why the reply was not read to its end.

    """

    about_to_write: Callable[[], None]
    fresh: bool = False
    unwritten: bool = True
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    trouble: str | None = None

    async def trace(self, event: str, _info: object) -> None:
        """Follow httpcore's account of a request: from connecting until the first header it is not written."""
        if event.endswith("connect_tcp.started"):
            self.unwritten = True
        elif event.endswith("send_request_headers.started"):
            self.unwritten = False
            self.about_to_write()

    def refused(self, errors: Sequence[Mapping[str, Any]] = ()) -> HttpStatus | None:
        """What an HTTP status other than 200 says, whatever became of the body."""
        return (
            None if self.status in (None, 200) else HttpStatus(self.status or 0, read_retry_after(self.headers), errors)
        )


_seen: Final[ContextVar[_Seen]] = ContextVar("_seen")


def _evidence_of(error: TransportError, seen: _Seen) -> Evidence:
    errors = error.errors if isinstance(error, TransportQueryError) else None
    rows = tuple(row for row in errors if isinstance(row, dict)) if isinstance(errors, list) else ()
    if (refused := seen.refused(rows)) is not None:
        return refused
    if isinstance(error, TransportQueryError):
        data = error.data if isinstance(error.data, dict) else None
        return Answer(data, rows or ({"message": "an error without a message"},), read_quota(seen.headers, rows))
    if isinstance(error, TransportConnectionFailed):
        return _evidence_of_loss(error.__cause__, seen)
    return Garbage(_NO_RESPONSE)


def _evidence_of_loss(cause: BaseException | None, seen: _Seen) -> Evidence:
    if seen.trouble is not None:
        return Garbage(seen.trouble)
    if isinstance(cause, _httpx.ConnectTimeout | _httpx.PoolTimeout):
        return NotConnected(_TOO_LATE, Cause.SLOW)
    if isinstance(cause, _httpx.ConnectError):
        return NotConnected(why_not_connected(_root_cause(cause)))
    if isinstance(cause, _httpx.TimeoutException):
        return TimedOut()
    return Garbage(f"the connection was lost ({type(cause).__name__})")


def _root_cause(error: BaseException) -> BaseException:
    """Return the operating system's error below httpx's, which has a type and no words of its own."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _watched_transport(tls: ssl.SSLContext | None) -> Any:
    """Return an httpx transport that notes each status and stops reading a reply that grows too large."""
    # Where there is no TLS: a context that trusts nobody. httpx would read a file of certificates twice, for nothing.
    verify = tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    below = _httpx.AsyncHTTPTransport(verify=verify, retries=0, trust_env=False)
    unkept = _httpx.AsyncHTTPTransport(
        verify=verify, retries=0, trust_env=False, limits=_httpx.Limits(max_keepalive_connections=0)
    )

    class LimitedStream(_httpx.AsyncByteStream):  # type: ignore[misc]  # the base class is httpx's or httpx2's
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in self._stream:
                size += len(chunk)
                if size > MAX_REPLY_BYTES:
                    _seen.get().trouble = "a reply larger than the limit"
                    raise _httpx.ReadError("a reply larger than the limit")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    class WatchedTransport(_httpx.AsyncBaseTransport):  # type: ignore[misc]  # as above
        async def handle_async_request(self, request: Any) -> Any:
            seen = _seen.get()
            seen.unwritten = False  # unless httpcore says that it still connects
            request.extensions = {**request.extensions, "trace": seen.trace}
            response = await (unkept if seen.fresh else below).handle_async_request(request)
            seen.status = response.status_code
            seen.headers = response.headers
            if response.headers.get("content-encoding", "identity") != "identity":
                await response.aclose()
                seen.trouble = "a compressed reply that was not asked for"
                raise _httpx.ReadError(seen.trouble)
            return _httpx.Response(
                response.status_code,
                # A session cookie would take priority over the token in the next request (flash-server.md 1.3).
                headers=[(name, value) for name, value in response.headers.raw if name.lower() != b"set-cookie"],
                stream=LimitedStream(response.stream),
                extensions=response.extensions,
            )

        async def aclose(self) -> None:
            await below.aclose()
            await unkept.aclose()

    return WatchedTransport()
