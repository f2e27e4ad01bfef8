"""What the transports share about the network under them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Final

import aiohappyeyeballs

__all__ = ["JSON_HEADERS", "MAX_REPLY_BYTES", "connect_to_any", "make_tls_context", "why_not_connected"]

_NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long an address is waited for before the next one is tried beside it (RFC 8305 8)."""

JSON_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # a compressed reply could unfold to any size
}
"""What goes with each request over HTTP, besides the credential."""

MAX_REPLY_BYTES: Final = 4 * 2**20
"""A reply larger than this is not read: no answer of Flash comes near it."""


def make_tls_context() -> ssl.SSLContext:
    """Return the TLS settings of every transport: certificate and host name are always verified."""
    return ssl.create_default_context()


async def connect_to_any(host: str, port: int) -> socket.socket:
    """Connect to the address of a host that answers first, as HTTP does; a dead one in front holds nothing up.

    Raises:
        OSError: The name is not known, or no address answers.

    """
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1, loop=loop
    )


def why_not_connected(error: BaseException) -> str:
    """Say in words why no connection came about; shows neither address nor credential."""
    if isinstance(error, BaseExceptionGroup):
        return why_not_connected(error.exceptions[0])  # one for each address of the host
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was not accepted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({getattr(error, 'reason', None) or type(error).__name__})"
    if isinstance(error, socket.gaierror):
        return "the host name was not found"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "the connection was refused"
    if isinstance(error, OSError) and error.errno:
        return f"could not connect ({os.strerror(error.errno).lower()})"
    return f"could not connect ({type(error).__name__})"
