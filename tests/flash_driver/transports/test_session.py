"""The session: what proves that a token is dead, what only looks like it, and whose account it opens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import ME
from flash_driver.flash_api.outcomes import Answer, Cause, Completed, NotConnected, NotExecuted
from flash_driver.transports.session import Session, SessionTiming
from flash_driver.transports.websocket.handshake import Limits
from flash_driver.transports.websocket.transport import SocketTransport
from tests.support.sockets import Peer, free_port, served

if TYPE_CHECKING:
    from tests.support.sockets import Served

TIMING = SessionTiming(apart=0.2, again=0.2, learning=3.0, recheck=0.0)
REFUSED = NotExecuted("HTTP 401", Cause.CREDENTIAL)
ACCOUNT = {"defaultAccount": {"id": "a", "defaultWalletId": "w", "wallets": []}}
ANONYMOUS = {
    "errors": [
        {
            "message": "Not Authenticated for subscription",
            "path": ["myUpdates"],
            "extensions": {"code": "NOT_AUTHENTICATED"},
        }
    ]
}
PRICE = {"data": {"myUpdates": {"me": None, "update": {"__typename": "Price"}}}}
KNOWN = {"data": {"myUpdates": {"me": ACCOUNT, "update": {"__typename": "RealtimePrice"}}}}
MOVING = {
    "data": {"myUpdates": {"me": None, "update": {"__typename": "RealtimePrice"}}},
    "errors": [
        {
            "message": "Cash Wallet cutover is in progress. Please try again shortly.",
            "path": ["myUpdates", "me", "defaultAccount", "wallets"],
            "extensions": {"code": "INVALID_INPUT"},
        }
    ],
}


class Script:
    """A server that answers each socket's subscriptions by a list, one entry per socket; the last one goes on."""

    def __init__(self, *sockets: list[list[Any]]) -> None:
        self.sockets = list(sockets)
        self.opened = 0
        self.completed = 0

    async def __call__(self, peer: Peer) -> None:
        """Serve one connection: each subscription gets its list of payloads."""
        answers = list(self.sockets[min(self.opened, len(self.sockets) - 1)])
        self.opened += 1
        await peer.acknowledge()
        while True:
            message = await peer.hear()
            if message["type"] == "complete":
                self.completed += 1
                continue
            for payload in answers.pop(0) if answers else []:
                await peer.say(id=message["id"], type="next", payload=payload)


def sockets(server: Served, **options: Any) -> SocketTransport:
    """Return the transport whose sockets a session asks on."""
    return SocketTransport(server.endpoint(**options), Limits(close_timeout=0.2))


async def test_one_word_of_one_way_is_no_verdict() -> None:
    """An anonymous socket and a 401 may both be stray: one fresh socket that knows the token proves that it lives."""
    script = Script([[ANONYMOUS]], [[PRICE, KNOWN]])
    async with served(script) as server:
        way = sockets(server)
        session = Session(way, TIMING)
        session.hear(REFUSED)
        assert await session.confirm(Deadline.after(20)) is False
        assert (session.dead, script.opened) == (False, 2)
        await way.aclose()


async def test_two_fresh_sockets_and_a_401_are_death() -> None:
    """Two anonymous sockets some time apart, and HTTP's word; a way that knows the token again ends it."""
    script = Script([[ANONYMOUS]])
    async with served(script) as server:
        way = sockets(server)
        session = Session(way, TIMING)
        waiting = asyncio.create_task(session.dies_within(20))
        session.hear(REFUSED)
        assert await session.confirm(Deadline.after(20)) is True
        assert (session.dead, script.opened) == (True, 2)
        assert await waiting
        session.hear(Completed({}))
        assert session.dead is False
        await way.aclose()


async def test_anonymous_sockets_alone_are_not_death() -> None:
    """While HTTP takes the token, or says nothing of it, sockets may be anonymous for ever."""
    async with served(Script([[ANONYMOUS]])) as server:
        way = sockets(server)
        session = Session(way, TIMING)
        assert await session.confirm(Deadline.after(20)) is False
        session.hear(Completed({}))
        assert await session.confirm(Deadline.after(20)) is False
        await way.aclose()


async def test_a_server_that_can_not_be_asked_is_no_proof() -> None:
    """Without a fresh socket nothing is certain."""
    async with served(Script([])) as server:
        way = sockets(server, url=f"ws://127.0.0.1:{free_port()}/")
        session = Session(way, TIMING)
        session.hear(REFUSED)
        assert await session.confirm(Deadline.after(40)) is False
        await way.aclose()


async def test_without_sockets_http_alone_has_a_say() -> None:
    """An API key, or an account that wants no socket, has no other way to ask."""
    session = Session()
    assert await session.confirm(Deadline.after(20)) is True
    assert await session.account(Deadline.after(20)) == NotConnected(
        "this token opens no socket to ask on", Cause.UNSUITED
    )


async def test_a_sudden_401_is_looked_into_at_once() -> None:
    """Where HTTP took the token until now, others may only be listening: the session finds out by itself."""
    async with served(Script([[ANONYMOUS]])) as server:
        way = sockets(server)
        session = Session(way, TIMING)
        session.hear(Completed({}))
        session.hear(REFUSED)
        assert await session.dies_within(20)
        await session.aclose()
        await way.aclose()


async def test_account_comes_with_the_first_event_that_names_it() -> None:
    """Events without `me` are waited through, the stream is ended at once, and all who ask share it."""
    script = Script([[PRICE, KNOWN]])
    async with served(script) as server:
        way = sockets(server)
        session = Session(way, TIMING)
        asked = [session.account(Deadline.after(20)) for _ in range(3)]
        assert await asyncio.gather(*asked) == [Answer({"me": ACCOUNT}, [])] * 3
        assert script.opened == 1
        await way.aclose()
    assert script.completed == 1


async def test_a_first_event_that_is_lost_is_asked_for_again() -> None:
    """On a fresh socket the first event may be lost: a second subscription on the same socket brings it."""
    script = Script([[], [KNOWN]])
    async with served(script) as server:
        way = sockets(server)
        assert await Session(way, TIMING).account(Deadline.after(20)) == Answer({"me": ACCOUNT}, [])
        await way.aclose()
    assert script.opened == 1


async def test_an_account_without_a_price_is_told_later() -> None:
    """Its first event is the next tick: a caller in a hurry is told so, and the next one has the answer."""
    tick = asyncio.Event()

    async def quiet(peer: Peer) -> None:
        await peer.acknowledge()
        while True:
            message = await peer.hear()
            if message["type"] == "subscribe" and message["id"] != "1":
                await tick.wait()
                await peer.say(id=message["id"], type="next", payload=KNOWN)

    async with served(quiet) as server:
        way = sockets(server)
        session = Session(way, TIMING)
        hurried = await session.account(Deadline.after(0.1))
        assert hurried == NotConnected("the socket has not named the account yet", Cause.SLOW)
        tick.set()
        assert await session.account(Deadline.after(20)) == Answer({"me": ACCOUNT}, [])
        await session.aclose()
        await way.aclose()


async def test_an_account_that_is_being_moved() -> None:
    """The server's reason reaches the classifier as if `me` had been asked for at the root: it passes."""
    async with served(Script([[PRICE, MOVING]])) as server:
        way = sockets(server)
        outcome = classify(ME, await Session(way, TIMING).account(Deadline.after(20)))
        assert getattr(outcome, "temporary", False) is True
        await way.aclose()


@pytest.mark.parametrize("surprised", [True, False])
async def test_an_old_socket_proves_nothing(*, surprised: bool) -> None:
    """A socket keeps what it was at its opening: after a sudden 401, or when it is old, a fresh one is asked."""
    script = Script([[KNOWN]], [[ANONYMOUS]])
    async with served(script) as server:
        way = sockets(server)
        timing = TIMING if surprised else SessionTiming(again=0.2, trusted=0.0)
        session = Session(way, timing)
        await way.connection(Deadline.after(20))
        if surprised:
            session.hear(Completed({}))
            session.hear(REFUSED)
        outcome = classify(ME, await session.account(Deadline.after(20)))
        assert isinstance(outcome, NotExecuted)
        assert outcome.cause is Cause.CREDENTIAL
        await session.aclose()
        await way.aclose()
