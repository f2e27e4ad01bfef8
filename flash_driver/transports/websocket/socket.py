"""One WebSocket on asyncio: texts out, texts in, and word of its end.

The protocol is the websockets library's core without I/O; only the input and output are ours. The library's own asyncio
connection gives each message several locks, a queue and a task to wake, and can't say whether a text was written
(architecture.md). Here a text is written when `send` returns, and read where it arrives: no task, no queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, NegotiationError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from flash_driver.common.log import get_logger
from flash_driver.flash_api.outcomes import Cause, Closed, Evidence, Garbage
from flash_driver.transports.network import connect_to_any, why_not_connected
from flash_driver.transports.websocket.handshake import ConnectionFailed
from flash_driver.transports.websocket.protocol import SUBPROTOCOL

if TYPE_CHECKING:
    from websockets.protocol import Event

    from flash_driver.common.deadline import Deadline
    from flash_driver.transports.websocket.handshake import Endpoint, Limits

__all__ = ["Receiver", "Socket"]

# Close codes that this end sends about what it received (RFC 6455 7.4.1).
_COMPLAINTS: Final = {
    1002: "something that is no WebSocket frame",
    1007: "a text that is not UTF-8",
    1008: "more frames at once than any answer needs",
    1009: "a message larger than the limit",
}
_log: Final = get_logger(transport="websocket")

_SLICE_BYTES: Final = 4096
"""How much of a read is parsed before its frames are counted: 2,048 frames at most."""


class Receiver(Protocol):
    """Who reads a socket; called by the event loop, so neither method may wait or raise."""

    def text_received(self, text: str | bytes) -> None:
        """A message came; bytes if it was a binary one."""
        ...

    def socket_ended(self, why: Evidence) -> None:
        """Nothing more can be sent, and nothing more comes; told once."""
        ...


class Socket(asyncio.Protocol):
    """A client's end of one WebSocket.

    Args:
        endpoint: Where to connect and what to show there.
        limits: What it waits for and holds.
        receiver: What reads it.

    Attributes:
        heard_at: When something last came from the peer, on the event loop's clock.
        resumed: Done when a peer that reads slowly has caught up; None while it keeps up.

    """

    def __init__(self, endpoint: Endpoint, limits: Limits, receiver: Receiver) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._core = ClientProtocol(
            parse_uri(endpoint.url),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=limits.max_message_bytes,
            logger=_quiet_logger(),
        )
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self.resumed: asyncio.Future[None] | None = None
        self._fragments = bytearray()
        self._binary = False
        self._held: list[bytes] | None = None
        self._ended = False
        self._next_ping: asyncio.TimerHandle | None = None
        self._pong_due: asyncio.TimerHandle | None = None
        self._close_due: asyncio.TimerHandle | None = None
        self.heard_at = 0.0

    # --- opening ----------------------------------------------------------------------------------------------------

    async def open(self, deadline: Deadline) -> None:
        """Connect and upgrade to a WebSocket.

        Raises:
            ConnectionFailed: It did not come about, with the reason; nothing is left open.

        """
        uri = self._core.uri
        try:
            async with asyncio.timeout_at(deadline.at):
                raw = await connect_to_any(uri.host, uri.port)
                try:
                    await self._loop.create_connection(
                        lambda: self,
                        sock=raw,
                        ssl=(self._endpoint.tls or True) if uri.secure else None,
                        server_hostname=uri.host if uri.secure else None,
                    )
                except BaseException:
                    raw.close()
                    raise
                await self._answered
        except BaseException as error:
            self.abort()
            if (failure := _why_no_handshake(error)) is not None:
                raise failure from None
            raise
        self._next_ping = self._loop.call_later(self._limits.ping_interval, self._keep_alive)

    @property
    def subprotocol(self) -> str | None:
        """What the server agreed to speak."""
        return self._core.subprotocol

    # --- writing ----------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether a text can be written now."""
        return (
            not self._ended
            and self._core.state is State.OPEN
            and self._transport is not None
            and not self._transport.is_closing()
        )

    async def unjammed(self) -> None:
        """Wait until the peer has caught up, or the socket has ended."""
        if self.resumed is not None:
            await asyncio.shield(self.resumed)

    def send(self, text: bytes, *, hold: bool = False) -> None:
        """Write a text; once this returns, the peer may get it whatever happens.

        Args:
            text: The message, in UTF-8.
            hold: Whether to let it wait for those that others write in the same turn of the event loop: many texts then
                cost one system call.

        """
        self._core.send_text(text)
        if not hold:
            self._flush()
        elif self._held is None:
            self._held = self._core.data_to_send()
            self._loop.call_soon(self._release)
        else:
            self._held += self._core.data_to_send()

    def prove_alive(self, within_seconds: float) -> None:
        """Ask the peer for a sign of life; without one in time the socket is dropped."""
        due = self._loop.time() + within_seconds
        if not self.usable or (self._pong_due is not None and self._pong_due.when() <= due):
            return
        self._core.send_ping(b"")
        self._flush()
        self._cancel(self._pong_due)
        self._pong_due = self._loop.call_at(due, self._drop)

    def _flush(self) -> None:
        held, self._held = self._held, None
        if pieces := (held or []) + self._core.data_to_send():
            self._write(pieces)

    def _release(self) -> None:
        if self._held is not None:
            self._flush()

    def _write(self, pieces: list[bytes]) -> None:
        transport = self._transport
        if transport is None:
            return
        if pieces[-1]:
            transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            return
        # The core ends what we say with nothing: half of the connection is to be closed, which TLS can't.
        transport.write(b"".join(pieces))
        if transport.can_write_eof():
            with contextlib.suppress(OSError, RuntimeError):  # what loops raise on a connection that is gone
                transport.write_eof()
        else:
            transport.close()

    # --- the end ----------------------------------------------------------------------------------------------------

    def say_goodbye(self, code: int = 1000, reason: str = "") -> None:
        """Begin to close; the peer has the close timeout to answer."""
        if self.usable:
            self._core.send_close(code, reason)
            self._flush()
            self._await_close()

    async def close(self) -> None:
        """Close, and wait until the connection is gone: cancelled, or ending already, it is so at once."""
        if self._transport is None:
            return
        if self.usable:
            self.say_goodbye()
        else:
            self.abort()
        try:
            await asyncio.shield(self._lost)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection without a goodbye."""
        if self._transport is not None:
            self._transport.abort()

    def _drop(self) -> None:
        _log.warning("websocket peer gave no sign of life, dropping the socket")
        self._pong_due = None
        self.abort()

    def _await_close(self) -> None:
        if self._close_due is None:
            self._close_due = self._loop.call_later(self._limits.close_timeout, self.abort)

    def _end(self) -> None:
        """Tell the receiver that it is over, once."""
        if self._ended:
            return
        self._ended = True
        if self._answered.done():
            self._receiver.socket_ended(self._why())

    def _why(self) -> Evidence:
        sent, received = self._core.close_sent, self._core.close_rcvd
        ours = sent is not None and not self._core.close_rcvd_then_sent
        if ours and sent is not None and sent.code in _COMPLAINTS:
            return Garbage(f"the server sent {_COMPLAINTS[sent.code]}")
        return Closed(None if received is None else received.code)

    def _keep_alive(self) -> None:
        self._next_ping = None
        if self.usable:
            self.prove_alive(self._limits.ping_timeout)
            self._next_ping = self._loop.call_later(self._limits.ping_interval, self._keep_alive)

    @staticmethod
    def _cancel(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

    # --- what the event loop calls ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        request = self._core.connect()
        request.headers.update(self._endpoint.headers)
        self._core.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Read what came, and hand it on.

        The event loop reads 256 KiB at once, which may be 131,072 frames of two bytes. So a read is parsed in slices,
        and a peer that puts more frames into one read than the limits allow is dropped.
        """
        core = self._core
        self.heard_at = self._loop.time()
        frames = idle = 0
        for start in range(0, len(data), _SLICE_BYTES):
            core.receive_data(data[start : start + _SLICE_BYTES])
            events = core.events_received()
            frames += len(events)
            idle += sum(map(_carries_nothing, events))
            if frames > self._limits.max_frames_per_read or idle > self._limits.max_idle_frames_per_read:
                core.fail(1008, "too many frames")
                core.data_to_send()  # answers to thousands of pings; one that is dropped gets none
                self._end()
                self.abort()
                return
            for event in events:
                self._take(event)
        self._flush()
        if core.state is not State.OPEN:
            self._check_end()
        elif self.resumed is not None:
            self._check_backlog()

    def eof_received(self) -> None:
        """The peer says nothing more: the event loop closes the connection."""
        self._core.receive_eof()
        self._flush()
        self._await_close()  # the loop would first have the peer read everything, which it may never do

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._core.receive_eof()
        for timer in (self._next_ping, self._pong_due, self._close_due):
            self._cancel(timer)
        if not self._answered.done():
            self._fail_handshake(self._core.handshake_exc or error or ConnectionResetError())
        self._end()
        self.resume_writing()
        self._lost.set_result(None)

    def pause_writing(self) -> None:
        """The buffer is full."""
        if self.resumed is None:
            self.resumed = self._loop.create_future()

    def resume_writing(self) -> None:
        """The buffer has room again."""
        resumed, self.resumed = self.resumed, None
        if resumed is not None:
            resumed.set_result(None)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if isinstance(event, Response):
            self._take_response()
            return
        frame = cast("Frame", event)
        match frame.opcode:
            case Opcode.TEXT if frame.fin:
                self._hand_on(frame.data)
            case Opcode.TEXT | Opcode.BINARY:
                self._binary = frame.opcode is Opcode.BINARY
                self._gather(frame)
            case Opcode.CONT:
                self._gather(frame)
            case Opcode.PONG:
                self._cancel(self._pong_due)
                self._pong_due = None
            case _:
                pass

    def _take_response(self) -> None:
        if self._answered.done():
            return
        if self._core.handshake_exc is None:
            self._answered.set_result(None)
        else:
            self._fail_handshake(self._core.handshake_exc)

    def _fail_handshake(self, error: Exception) -> None:
        self._answered.set_exception(error)
        self._answered.exception()  # the caller that opened it may be gone

    def _gather(self, frame: Frame) -> None:
        """Put the fragments of a message together; the core limits their size in all."""
        self._fragments += frame.data
        if not frame.fin:
            return
        whole = bytes(self._fragments)
        self._fragments.clear()
        binary, self._binary = self._binary, False
        if not self._ended and binary:
            self._receiver.text_received(whole)
        elif not binary:
            self._hand_on(whole)

    def _hand_on(self, data: Any) -> None:
        if self._ended:
            return
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError:
            self._core.fail(1007, "not UTF-8")
            self._end()
            return
        self._receiver.text_received(text)

    def _check_backlog(self) -> None:
        """Drop a peer whose pings are answered faster than it reads: nobody waits, so that would fill the memory."""
        if self._transport is not None and self._transport.get_write_buffer_size() > self._limits.max_unread_bytes:
            _log.warning("websocket peer sends but does not read, dropping the socket")
            self.abort()

    def _check_end(self) -> None:
        core = self._core
        if core.close_expected():
            self._await_close()
        # A goodbye of ours alone ends nothing: what is in flight may still be answered.
        if core.close_rcvd is not None or core.parser_exc is not None:
            self._end()


def _carries_nothing(event: Event) -> bool:
    """Whether a frame is a ping, a pong, or an empty piece of a message: a working server sends one now and then."""
    if not isinstance(event, Frame):
        return False
    return event.opcode in (Opcode.PING, Opcode.PONG) or not (event.data or event.fin)


def _quiet_logger() -> logging.Logger:
    """Return a logger for the websockets library that can't be turned up: at DEBUG it would print the token."""
    logger = logging.Logger("flash_driver.websockets", level=logging.WARNING)  # noqa: LOG001 - outside the tree on purpose
    logger.parent = logging.getLogger("flash_driver")
    return logger


def _why_no_handshake(error: BaseException) -> ConnectionFailed | None:
    """Say why connecting or upgrading failed; None for what is none of the network's doing.

    A redirect is a failure like any other status: it must not carry the token elsewhere.
    """
    match error:
        case TimeoutError():
            return ConnectionFailed("no handshake in time", Cause.SLOW)
        case InvalidStatus():
            status = error.response.status_code
            cause = Cause.CREDENTIAL if status == 401 else Cause.UNREACHABLE
            return ConnectionFailed(f"the handshake was answered with HTTP {status}", cause, status=status)
        case NegotiationError():
            return ConnectionFailed(f"the server does not speak {SUBPROTOCOL}")
        case InvalidHandshake():
            return ConnectionFailed(f"the handshake failed ({type(error).__name__})")
        case OSError() | UnicodeError():
            return ConnectionFailed(why_not_connected(error))
        case _:
            return None
