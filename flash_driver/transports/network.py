"""What the transports share about the network under them."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final

__all__ = ["MAX_REPLY_BYTES", "make_tls_context", "why_not_connected"]

MAX_REPLY_BYTES: Final = 4 * 2**20
"""A reply larger than this is not read: no answer of Flash comes near it."""


def make_tls_context() -> ssl.SSLContext:
    """Return the TLS settings of every transport: certificate and host name are always verified."""
    return ssl.create_default_context()


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
