"""From a URL to an open socket: where to connect, within what limits, and why that did not work."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, NegotiationError, WebSocketException
from websockets.typing import Subprotocol

from flash_driver.outcome import Cause, NotConnected
from flash_driver.transports.network import MAX_REPLY_BYTES, why_not_connected
from flash_driver.transports.protocol import SUBPROTOCOL

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

__all__ = ["ConnectionFailed", "Endpoint", "Limits", "shake_hands"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a connection waits and how much it holds; times in seconds.

    Attributes:
        ping_interval: How often the peer is pinged.
        ping_timeout: How long its pong may take before the socket is given up.
        suspicion_timeout: The same for the ping that follows an overdue answer.
        close_timeout: How long the closing handshake may take.
        max_message_bytes: The largest message that is read.
        max_in_flight: How many operations may wait for their answers; further ones wait for their turn.
        max_queued_events: How many events of a subscription may wait for their reader.
        max_late: Of how many abandoned operations a late answer is still recognised.

    """

    ping_interval: float = 10.0
    ping_timeout: float = 10.0
    suspicion_timeout: float = 2.0
    close_timeout: float = 1.0
    max_message_bytes: int = MAX_REPLY_BYTES
    max_in_flight: int = 512
    max_queued_events: int = 1024
    max_late: int = 256


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where to connect and what to show there; has no repr because it holds the token."""

    url: str
    headers: Mapping[str, str]
    init_payload: Mapping[str, object]
    tls: ssl.SSLContext | None = None


class ConnectionFailed(Exception):
    """No usable connection came about, so nothing was written."""

    def __init__(self, why: str, cause: Cause = Cause.UNREACHABLE) -> None:
        super().__init__(why)
        self.why = why
        self.cause = cause

    @property
    def evidence(self) -> NotConnected:
        """What a transport reports of it."""
        return NotConnected(self.why, self.cause)


class _NoRedirects(connect):
    """A handshake that goes where it was sent or nowhere: a redirect must not carry the token elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def shake_hands(endpoint: Endpoint, limits: Limits) -> ClientConnection:
    """Connect and upgrade to a WebSocket that speaks graphql-transport-ws.

    Raises:
        ConnectionFailed: It did not come about, with the reason.

    """
    options: dict[str, Any] = {} if endpoint.tls is None else {"ssl": endpoint.tls}
    try:
        return await _NoRedirects(
            endpoint.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=dict(endpoint.headers),
            user_agent_header=None,
            compression=None,
            proxy=None,
            open_timeout=None,
            ping_interval=limits.ping_interval,
            ping_timeout=limits.ping_timeout,
            close_timeout=limits.close_timeout,
            max_size=limits.max_message_bytes,
            logger=_quiet_logger(),
            **options,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        cause = Cause.CREDENTIAL if status in (401, 403) else Cause.UNREACHABLE
        raise ConnectionFailed(f"the handshake was answered with HTTP {status}", cause) from None
    except NegotiationError:
        raise ConnectionFailed(f"the server does not speak {SUBPROTOCOL}") from None
    except InvalidHandshake as error:
        raise ConnectionFailed(f"the handshake failed ({type(error).__name__})") from None
    except (OSError, UnicodeError, WebSocketException) as error:
        raise ConnectionFailed(why_not_connected(error)) from None


def _quiet_logger() -> logging.Logger:
    """Return a logger for the websockets library that can't be turned up: at DEBUG it would print the token."""
    logger = logging.Logger("flash_driver.websockets", level=logging.WARNING)  # noqa: LOG001 - outside the tree on purpose
    logger.parent = logging.getLogger("flash_driver")
    return logger
