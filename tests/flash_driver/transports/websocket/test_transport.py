"""The transport: one connection for everybody, opened when needed, and gql's interface on top of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import MY_UPDATES, PRICE, PROBE
from flash_driver.flash_api.outcomes import Answer, Cause, Closed, Evidence, Garbage, NotConnected, TimedOut
from flash_driver.transports.base import perform
from flash_driver.transports.websocket.handshake import ConnectionFailed, Endpoint, Limits
from flash_driver.transports.websocket.transport import SocketTransport
from tests.support.sockets import Peer, Served, accepting, free_port, served, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.driver import Bench

LONG = 60.0


def soon() -> Deadline:
    """Return a deadline that a working driver never sees."""
    return Deadline.after(LONG)


@asynccontextmanager
async def transport_to(server: Served, **more: Any) -> AsyncIterator[SocketTransport]:
    """Make a transport, and close it after the block."""
    limits = more.pop("limits", Limits(close_timeout=0.2))
    transport = SocketTransport(server.endpoint(url=more.pop("url", server.url)), limits, **more)
    try:
        yield transport
    finally:
        await transport.aclose()


async def acknowledge_and_wait(peer: Peer) -> None:
    """Play a server that acknowledges, and then leaves the rest to the test."""
    await peer.acknowledge()
    await peer.socket.wait_closed()


# --- connecting -----------------------------------------------------------------------------------------------------


async def test_connects_when_first_needed_and_stays_connected() -> None:
    """Nothing happens before the first operation; later ones share its connection."""
    async with served(Peer.serve_for_ever) as server, transport_to(server) as transport:
        assert (transport.connected, transport.prober.subscribed, server.peers) == (False, False, [])
        for operation in (PROBE(), PRICE()):
            assert await perform(transport, operation, soon()) == Answer({"name": operation.document.name})
        assert transport.connected
        assert len(server.peers) == transport.times_connected == 1


async def test_all_who_ask_at_once_share_one_attempt() -> None:
    """Fifty operations on a cold transport open one connection."""
    async with served(Peer.serve_for_ever) as server, transport_to(server) as transport:
        answers = await asyncio.gather(*(perform(transport, PROBE(), soon()) for _ in range(50)))
        assert answers == [Answer({"name": "Probe"})] * 50
        assert len(server.peers) == 1


async def test_no_connection_is_evidence_not_an_exception() -> None:
    """A server that is down is reported, and tried again by the next operation."""
    async with (
        served(Peer.serve_for_ever) as server,
        transport_to(server, url=f"ws://127.0.0.1:{free_port()}/graphql") as transport,
    ):
        for _ in range(2):
            assert await perform(transport, PROBE(), soon()) == NotConnected("the connection was refused")
        assert not transport.connected
        assert transport.times_connected == 0


async def test_connecting_takes_no_longer_than_the_connect_timeout() -> None:
    """A patient caller does not wait for a server that does not answer longer than a connection may take."""
    async with accepting() as port, served(Peer.serve_for_ever) as server:
        url = f"ws://127.0.0.1:{port}/graphql"
        async with transport_to(server, url=url, limits=Limits(connect_timeout=0.05)) as transport, within():
            assert await perform(transport, PROBE(), soon()) == NotConnected("no handshake in time", Cause.SLOW)


async def test_impatient_caller_leaves_the_attempt_to_others() -> None:
    """Who has no time left goes; who has some gets the connection from the same attempt."""
    acknowledge = asyncio.Event()

    async def hesitate(peer: Peer) -> None:
        peer.init = await peer.hear()
        await acknowledge.wait()
        await peer.say(type="connection_ack")
        operation_id, _ = await peer.operation()
        await peer.answer(operation_id, a=1)

    async with served(hesitate) as server, transport_to(server) as transport:
        patient = asyncio.create_task(perform(transport, PROBE(), soon()))
        cancelled = asyncio.create_task(perform(transport, PROBE(), soon()))
        hurried = await perform(transport, PROBE(), Deadline.after(0.05))
        assert hurried == NotConnected("not connected in time", Cause.SLOW)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        acknowledge.set()
        async with within():
            assert await patient == Answer({"a": 1})
        assert len(server.peers) == 1


async def test_attempt_that_fails_after_everybody_left() -> None:
    """Nobody is told of a failure that nobody waits for, not even asyncio."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    refuse = asyncio.Event()

    async def hesitate(peer: Peer) -> None:
        await peer.hear()
        await refuse.wait()
        await peer.socket.close(4403)

    async with served(hesitate) as server, transport_to(server) as transport:
        assert await perform(transport, PROBE(), Deadline.after(0.05)) == NotConnected(
            "not connected in time", Cause.SLOW
        )
        opening = next(task for task in asyncio.all_tasks() if task.get_name() == "flash-driver websocket connect")
        refuse.set()
        async with within():
            await asyncio.wait([opening])
        del opening
    assert complaints == []


async def test_connects_again_after_a_loss() -> None:
    """The operation in flight learns of the loss, the next one finds a new connection."""

    async def once(peer: Peer) -> None:
        await peer.acknowledge()
        await peer.operation()
        await peer.socket.close(1011)

    async with served(once) as server, transport_to(server) as transport:
        for number in (1, 2):
            assert await perform(transport, PROBE(), soon()) == Closed(1011)
            assert not transport.connected
            assert transport.times_connected == number


async def test_connecting_again_does_not_wait_for_the_old_goodbye() -> None:
    """A server that is slow to hang up does not hold up the next connection."""
    async with (
        served(acknowledge_and_wait) as server,
        transport_to(server, limits=Limits(close_timeout=LONG)) as transport,
    ):
        first = await transport.connection(soon())
        (await server.peer()).socket.transport.pause_reading()
        goodbye = asyncio.create_task(first._socket.close())
        await asyncio.sleep(0.02)
        assert not first.usable
        async with within():
            second = await transport.connection(soon())
        assert second.usable
        await goodbye


async def test_late_answers_pass_through() -> None:
    """What comes after the caller's time reaches the callback."""
    late: asyncio.Queue[Evidence] = asyncio.Queue()
    async with served(acknowledge_and_wait) as server, transport_to(server) as transport:
        await transport.connection(soon())
        assert await perform(transport, PROBE(), Deadline.after(0.1), late.put_nowait) == TimedOut()
        peer = await server.acknowledged()
        operation_id, _ = await peer.operation()
        await peer.answer(operation_id, a=1)
        async with within():
            assert await late.get() == Answer({"a": 1})


# --- closing --------------------------------------------------------------------------------------------------------


async def test_closes_when_idle_and_opens_again() -> None:
    """A socket that nobody used for a while is closed in good order; the next operation opens another."""
    async with (
        served(Peer.serve_for_ever) as server,
        transport_to(server, limits=Limits(idle_timeout=0.05)) as transport,
    ):
        for number in range(2):
            await perform(transport, PROBE(), soon())
            async with within():
                await (await server.peer(number)).socket.wait_closed()
            assert server.peers[number].socket.close_code == 1000
            assert not transport.connected


async def test_is_not_idle_while_somebody_waits_or_listens() -> None:
    """A subscription, or an operation without its answer yet, keeps the socket open."""
    async with (
        served(acknowledge_and_wait) as server,
        transport_to(server, limits=Limits(idle_timeout=0.5)) as transport,
    ):
        asking = asyncio.create_task(perform(transport, PROBE(), soon()))
        peer = await server.acknowledged()
        operation_id, _ = await peer.operation()
        await asyncio.sleep(0.7)
        subscription = await transport.open_subscription(MY_UPDATES(), soon())
        assert transport.prober.subscribed
        subscription_id, _ = await peer.operation()
        await peer.answer(operation_id, a=1)
        assert await asking == Answer({"a": 1})
        await asyncio.sleep(0.7)
        await peer.say(id=subscription_id, type="next", payload={"data": {"b": 2}})
        assert (await subscription.receive()).data == {"b": 2}
        await subscription.aclose()
        assert transport.times_connected == 1
        async with within():
            await peer.socket.wait_closed()


async def test_used_while_it_closes_for_idleness() -> None:
    """An operation that comes while the idle socket says goodbye gets a new one, which is watched in its turn."""
    async with (
        served(acknowledge_and_wait) as server,
        transport_to(server, limits=Limits(idle_timeout=0.05, close_timeout=0.3)) as transport,
    ):
        await transport.connection(soon())
        first = await server.peer()
        first.socket.transport.pause_reading()
        async with within():
            while transport.connected:  # noqa: ASYNC110 - the clock closes it, nobody tells
                await asyncio.sleep(0.005)
        assert (await transport.connection(soon())).usable
        async with within():
            await (await server.peer(1)).socket.wait_closed()


async def test_closing_ends_everything_and_the_next_use_begins_anew() -> None:
    """After closing there is no connection and no task; an operation opens another connection."""
    async with served(Peer.serve_for_ever) as server, transport_to(server) as transport:
        await perform(transport, PROBE(), soon())
        await transport.aclose()
        assert not transport.connected
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")] == []
        assert await perform(transport, PROBE(), soon()) == Answer({"name": "Probe"})
        assert len(server.peers) == 2


async def test_closing_while_somebody_connects() -> None:
    """Who waits for a connection when the transport is closed is told, rather than left waiting."""
    async with served(Peer.hear) as server, transport_to(server) as transport:
        asking = asyncio.create_task(perform(transport, PROBE(), soon()))
        await server.peer()
        await transport.aclose()
        async with within():
            assert await asking == NotConnected("the transport was closed")


async def test_cancelled_and_closed_at_once() -> None:
    """A caller that is cancelled at the moment of closing is cancelled, whatever else happened."""
    async with served(Peer.hear) as server, transport_to(server) as transport:
        asking = asyncio.create_task(perform(transport, PROBE(), soon()))
        await server.peer()
        opening = next(task for task in asyncio.all_tasks() if task.get_name() == "flash-driver websocket connect")
        opening.cancel()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_cancelled_while_closing() -> None:
    """Also a closing that is given up closes the socket."""
    async with (
        served(acknowledge_and_wait) as server,
        transport_to(server, limits=Limits(close_timeout=LONG)) as transport,
    ):
        connection = await transport.connection(soon())
        (await server.peer()).socket.transport.pause_reading()
        closing = asyncio.create_task(transport.aclose())
        await asyncio.sleep(0.02)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with within():
                await closing
        assert not connection.usable


# --- the probe ------------------------------------------------------------------------------------------------------


async def test_probe_shares_the_socket_while_nobody_listens() -> None:
    """Without subscriptions there is nothing to lose, so the probe warms the shared connection."""
    async with served(Peer.serve_for_ever) as server, transport_to(server) as transport:
        assert await transport.prober.probe(soon()) == Answer({"name": "Probe"})
        assert transport.connected
        assert len(server.peers) == 1


async def test_probe_spares_live_subscriptions() -> None:
    """While somebody listens, a server that closes the socket on a question closes one of its own."""

    async def strict(peer: Peer) -> None:
        await peer.acknowledge()
        _, payload = await peer.operation()
        if payload["operationName"] == "Probe":
            await peer.socket.close(4500)
        else:
            await peer.socket.wait_closed()

    async with served(strict) as server, transport_to(server) as transport:
        subscription = await transport.open_subscription(MY_UPDATES(), soon())
        assert await transport.prober.probe(soon()) == Closed(4500)
        assert transport.prober.subscribed
        assert len(server.peers) == 2
        await subscription.aclose()


async def test_probe_on_its_own_connection_cleans_up() -> None:
    """The probe's connection is closed after its answer, also when the server is slow to say goodbye."""

    async def slow(peer: Peer) -> None:
        await peer.acknowledge()
        operation_id, payload = await peer.operation()
        if payload["operationName"] == "Probe":
            await peer.answer(operation_id, a=1)
            peer.socket.transport.pause_reading()
        await peer.socket.wait_closed()

    async with served(slow) as server, transport_to(server, limits=Limits(close_timeout=LONG)) as transport:
        subscription = await transport.open_subscription(MY_UPDATES(), soon())
        async with within():
            assert await transport.prober.probe(Deadline.after(3)) == Answer({"a": 1})
        await subscription.aclose()
        (await server.peer()).socket.transport.abort()


async def test_probe_that_finds_no_connection() -> None:
    """When not even the probe's own connection comes about, that is the evidence."""

    async def first_only(peer: Peer) -> None:
        if len(server.peers) > 1:
            await peer.socket.close(1013)
        await acknowledge_and_wait(peer)

    async with served(first_only) as server, transport_to(server) as transport:
        subscription = await transport.open_subscription(MY_UPDATES(), soon())
        evidence = await transport.prober.probe(soon())
        assert evidence == NotConnected("the server closed with code 1013 before connection_ack")
        await subscription.aclose()


async def test_subscription_without_a_connection() -> None:
    """A subscription on a server that is down raises at once."""
    async with (
        served(Peer.serve_for_ever) as server,
        transport_to(server, url=f"ws://127.0.0.1:{free_port()}/") as transport,
    ):
        with pytest.raises(ConnectionFailed, match="refused"):
            await transport.open_subscription(MY_UPDATES(), soon())


# --- against the sandbox ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before_execute", "after_execute"])
@pytest.mark.parametrize(
    ("fault", "means"),
    [
        ({"kind": "close", "code": 1011}, Closed(1011)),
        ({"kind": "close", "code": 4403}, Closed(4403)),
        ({"kind": "reset"}, Closed(None)),
        ({"kind": "garbage"}, Garbage("the server sent a message that is not JSON")),
        ({"kind": "truncate"}, Garbage("the server sent a message that is not JSON")),
        ({"kind": "silent"}, TimedOut()),
    ],
)
async def test_faults_of_the_sandbox(bench: Bench, fault: dict[str, Any], when: str, means: Evidence) -> None:
    """Whatever the sandbox does to a socket in the middle of an operation is told, and the next one connects again."""
    sandbox = await bench.sandbox()
    bearer = {"Authorization": f"Bearer {sandbox.token}"}
    limits = Limits(close_timeout=0.2, suspicion_timeout=0.05)
    transport = SocketTransport(Endpoint(sandbox.websocket, bearer, bearer), limits)
    await transport.connection(soon())
    sandbox.arm(fault["kind"], operation="*", when=when, **{name: fault[name] for name in fault if name != "kind"})
    deadline = Deadline.after(0.3 if means == TimedOut() else LONG)
    assert await perform(transport, PRICE(), deadline) == means
    async with within():
        while transport.connected:  # noqa: ASYNC110 - a silent peer is found out by a ping, which tells nobody
            await asyncio.sleep(0.01)
    answer = await perform(transport, PRICE(), soon())
    assert isinstance(answer, Answer)
    assert transport.times_connected == 2
    await transport.aclose()
