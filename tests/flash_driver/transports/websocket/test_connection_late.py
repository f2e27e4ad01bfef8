"""A connection on real sockets: answers that come when their caller is gone."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.outcomes import Answer, ErrorFrame, Evidence, TimedOut
from flash_driver.transports.websocket.handshake import Limits
from tests.support.sockets import within
from tests.support.talk import asking, talking

# --- late answers ---------------------------------------------------------------------------------------------------


async def test_late_answer_after_the_time() -> None:
    """An answer that comes after its caller's time still reaches the one who asked for it, once."""
    late: list[Evidence] = []
    came = asyncio.Event()

    def take(evidence: Evidence) -> None:
        late.append(evidence)
        came.set()

    async with talking() as (connection, peer):
        assert await asking(connection, deadline=Deadline.after(0.05), late=take) == TimedOut()
        operation_id, _ = await peer.operation()
        assert not connection.busy
        await peer.answer(operation_id, a=1)
        async with within():
            await came.wait()
    assert late == [Answer({"a": 1})]


async def test_late_answer_after_a_cancellation() -> None:
    """The same when the caller was cancelled."""
    late: asyncio.Queue[Evidence] = asyncio.Queue()
    async with talking() as (connection, peer):
        call = asking(connection, late=late.put_nowait)
        operation_id, _ = await peer.operation()
        call.cancel()
        await peer.say(id=operation_id, type="error", payload=[{"message": "no"}])
        with pytest.raises(asyncio.CancelledError):
            await call
        async with within():
            assert await late.get() == ErrorFrame([{"message": "no"}])


async def test_answer_that_nobody_wants_any_more() -> None:
    """An answer that lies ready when its caller is cancelled, and that nobody asked for late, is dropped."""
    async with talking() as (connection, peer):
        call = asking(connection)
        operation_id, _ = await peer.operation()
        connection._in_flight.settle(operation_id, Answer({"a": 1}))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not connection.busy


async def test_answer_in_the_very_moment_of_giving_up() -> None:
    """An answer that lies ready when its caller is cancelled is not lost."""
    late: list[Evidence] = []
    async with talking() as (connection, peer):
        call = asking(connection, late=late.append)
        operation_id, _ = await peer.operation()
        connection._in_flight.settle(operation_id, Answer({"a": 1}))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert late == [Answer({"a": 1})]


async def test_answer_between_giving_up_and_noticing() -> None:
    """An answer between the cancellation and the caller's last step is not lost either."""
    late: list[Evidence] = []
    async with talking() as (connection, peer):
        call = asking(connection, late=late.append)
        operation_id, _ = await peer.operation()
        call.cancel()
        connection._in_flight.settle(operation_id, Answer({"a": 1}))
        with pytest.raises(asyncio.CancelledError):
            await call
        assert connection._in_flight.late == {}
    assert late == [Answer({"a": 1})]


async def test_answer_in_the_very_moment_of_the_deadline() -> None:
    """An answer that lies ready when time runs out is the answer."""
    async with talking() as (connection, peer):
        loop = asyncio.get_running_loop()
        deadline = Deadline.after(0.1)
        late: list[Evidence] = []
        call = asking(connection, deadline=deadline, late=late.append)
        operation_id, _ = await peer.operation()
        # Runs in the same turn of the loop as the timeout, just before it.
        loop.call_at(deadline.at - 1e-9, connection._in_flight.settle, operation_id, Answer({"a": 1}))
        assert await call == Answer({"a": 1})
    assert late == []


async def test_giving_up_in_the_very_moment_of_the_deadline() -> None:
    """That time ran out is no answer: who was cancelled just then hears late of the answer alone."""
    late: asyncio.Queue[Evidence] = asyncio.Queue()
    async with talking() as (connection, peer):
        call = asking(connection, late=late.put_nowait)
        operation_id, _ = await peer.operation()
        connection._in_flight.calls[operation_id].expire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await peer.answer(operation_id, a=1)
        async with within():
            assert await late.get() == Answer({"a": 1})


async def test_late_answers_are_bounded() -> None:
    """Of operations that are never answered only that many are remembered, the youngest."""
    late: asyncio.Queue[Evidence] = asyncio.Queue()
    async with talking(Limits(max_late=2)) as (connection, peer):
        for number in range(4):
            call = asking(connection, f"Ask{number}", deadline=Deadline.after(0.05), late=late.put_nowait)
            assert isinstance(await call, TimedOut)
        assert len(connection._in_flight.late) == 2
        ids = [(await peer.operation())[0] for _ in range(4)]
        for operation_id in ids:
            await peer.answer(operation_id, of=operation_id)
        async with within():
            assert [await late.get() for _ in range(2)] == [Answer({"of": operation_id}) for operation_id in ids[2:]]
        assert connection._in_flight.late == {}


async def test_nobody_is_told_late_that_the_socket_closed() -> None:
    """A close is no answer: who gave up before it hears nothing of it."""
    late: list[Evidence] = []
    async with talking() as (connection, peer):
        assert await asking(connection, deadline=Deadline.after(0.05), late=late.append) == TimedOut()
        await peer.operation()
        await connection.aclose()
    assert late == []
    assert connection._in_flight.late == {}


async def test_fault_in_taking_a_late_answer_hurts_nobody() -> None:
    """An exception in somebody's callback is logged without content, and the connection serves on."""

    def fail(evidence: Evidence) -> None:
        raise ValueError(evidence)

    async with talking() as (connection, peer):
        assert await asking(connection, deadline=Deadline.after(0.05), late=fail) == TimedOut()
        operation_id, _ = await peer.operation()
        call = asking(connection)
        with capture_logs() as entries:
            await peer.answer(operation_id, secret="c0ffee")
            await peer.answer((await peer.operation())[0], a=1)
            assert await call == Answer({"a": 1})
    assert [entry for entry in entries if entry["log_level"] == "error"] == [
        {
            "event": "a late answer could not be taken in",
            "error": "ValueError",
            "transport": "websocket",
            "log_level": "error",
        }
    ]
