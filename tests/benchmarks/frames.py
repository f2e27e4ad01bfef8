"""WebSocket framing as cheap as it gets, for the server side (RFC 6455 5.2); one frame is one message."""

from __future__ import annotations

import base64
from hashlib import sha1
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CLOSE", "PING", "PONG", "TEXT", "accept_key", "frame", "take_frames"]

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASKED: Final = 0x80


def accept_key(key: bytes) -> bytes:
    """Return what a server answers to `Sec-WebSocket-Key`."""
    return base64.b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return an unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8) + payload


def take_frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the whole frames off the front of a buffer; yields opcode and unmasked payload of each.

    Raises:
        ValueError: A frame is not masked, or a part of a message only.

    """
    start = 0
    try:
        while len(buffer) - start >= 6:
            first, second = buffer[start], buffer[start + 1]
            if not first & 0x80 or not second & _MASKED:
                raise ValueError("a frame that is not masked, or not a whole message")
            size, at = second & 0x7F, start + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                if len(buffer) < at + width:
                    return
                size, at = int.from_bytes(buffer[at : at + width]), at + width
            if len(buffer) < at + 4 + size:
                return
            mask, data = bytes(buffer[at : at + 4]), buffer[at + 4 : at + 4 + size]
            start = at + 4 + size
            yield first & 0x0F, _unmask(data, mask)
    finally:
        del buffer[:start]


def _unmask(data: bytearray, mask: bytes) -> bytes:
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(size)
