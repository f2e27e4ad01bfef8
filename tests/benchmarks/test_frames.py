from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from tests.benchmarks.frames import PING, TEXT, accept_key, frame, take_frames


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a frame as the websockets library writes it for a client."""
    return Frame(Opcode(opcode), payload).serialize(mask=True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_are_read_and_written(size: int) -> None:
    """Each of the three ways to spell a length works, in both directions."""
    payload = bytes(number % 251 for number in range(size))
    buffer = bytearray(masked(payload))
    assert list(take_frames(buffer)) == [(TEXT, payload)]
    assert buffer == b""
    assert frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_frames_may_come_in_pieces_or_together() -> None:
    """Two frames at once are two, and what is left of a third waits for its rest."""
    third = masked(b"third")
    for cut in range(len(third)):
        buffer = bytearray(masked(b"first") + masked(b"", PING) + third[:cut])
        assert list(take_frames(buffer)) == [(TEXT, b"first"), (PING, b"")]
        buffer += third[cut:]
        assert list(take_frames(buffer)) == [(TEXT, b"third")]


def test_unmasked_frames_are_refused() -> None:
    """A client has to mask (RFC 6455 5.1)."""
    with pytest.raises(ValueError, match="not masked"):
        list(take_frames(bytearray(frame(b"hello, server"))))


def test_accept_key_is_the_standards_own() -> None:
    """The example of RFC 6455 1.3."""
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
