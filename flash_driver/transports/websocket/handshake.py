"""Where a socket is opened to, within what limits, and why that did not work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_driver.flash_api.outcomes import Cause
from flash_driver.transports.base import NotReady
from flash_driver.transports.network import MAX_REPLY_BYTES

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

__all__ = ["ConnectionFailed", "Endpoint", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a connection waits and how much it holds; times in seconds.

    Attributes:
        connect_timeout: How long handshake and acknowledgement together may take.
        idle_timeout: After how long without use a socket that is kept is closed.
        ping_interval: How often the peer is pinged.
        ping_timeout: How long its pong may take before the socket is given up.
        suspicion_after: How long an answer may take before the peer has to show that it lives.
        suspicion_timeout: How long its pong may take then.
        close_timeout: How long the closing handshake may take.
        max_message_bytes: The largest message that is read.
        max_frames_per_read: How many frames one read of the event loop may hold, 256 KiB at most; beyond, the peer is
            dropped. The shortest answers there are need no more.
        max_idle_frames_per_read: How many of them may carry nothing: pings, pongs, empty pieces of messages.
        max_unread_bytes: How much may wait for a peer that sends but does not read.
        max_in_flight: How many operations may wait for their answers; further ones wait for their turn.
        max_queued_events: How many events of a subscription may wait for their reader.
        max_late: Of how many abandoned operations a late answer is still recognised.

    """

    connect_timeout: float = 4.0
    idle_timeout: float = 300.0
    ping_interval: float = 10.0
    ping_timeout: float = 10.0
    suspicion_after: float = 1.0
    suspicion_timeout: float = 1.5
    close_timeout: float = 1.0
    max_message_bytes: int = MAX_REPLY_BYTES
    max_frames_per_read: int = 4096
    max_idle_frames_per_read: int = 64
    max_unread_bytes: int = 16 * 2**20
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


class ConnectionFailed(NotReady):
    """No usable connection came about, so nothing was written.

    Attributes:
        status: The HTTP status that answered the handshake, if that was the trouble.
        code: The code that the server closed with, if that was the trouble.
        foreign: Whether what answered speaks something else than graphql-transport-ws.

    """

    def __init__(
        self,
        why: str,
        cause: Cause = Cause.UNREACHABLE,
        *,
        status: int | None = None,
        code: int | None = None,
        foreign: bool = False,
    ) -> None:
        super().__init__(why, cause)
        self.status = status
        self.code = code
        self.foreign = foreign
