"""What both transports do to a connection when they misbehave."""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["GARBAGE", "close_connection", "read_json", "reset_connection", "write_json"]

GARBAGE: Final = "<html><body><h1>502 Bad Gateway</h1></body></html>"


def write_json(value: object) -> str:
    """Write JSON without needless spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_json(text: str | bytes) -> Any:
    """Read JSON; None if it isn't any."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def close_connection(request: web.Request) -> None:
    """Close a request's TCP connection in order."""
    if request.transport is not None:
        request.transport.close()


def reset_connection(request: web.Request) -> None:
    """Break a request's TCP connection: the peer gets a RST."""
    transport = request.transport
    if transport is None:
        return
    endpoint = transport.get_extra_info("socket")
    if endpoint is not None:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
