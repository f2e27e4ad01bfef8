"""What both transports do to a connection when they misbehave."""

from __future__ import annotations

import json
import re
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["GARBAGE", "apollo_words", "close_connection", "read_json", "reset_connection", "write_json"]

_QUOTED: Final = re.compile(r"'([^']*)'")
_KEY: Final = re.compile(r'(?<=[{,])\s*"(\w+)": ')
_CLOSING: Final = re.compile(r"(?<=[^{ ])}")

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


def apollo_words(message: str) -> str:
    """Spell what graphql-core says about a document as Apollo does: double quotes, objects as JavaScript shows them."""
    return _CLOSING.sub(" }", _KEY.sub(r" \1: ", _QUOTED.sub(r'"\1"', message)))


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
