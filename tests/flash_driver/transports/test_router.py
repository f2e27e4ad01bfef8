"""The router: which way, in which order, how long each, and when no other may be tried."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from structlog.testing import capture_logs

from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import INVOICE_CREATE_USD, MY_UPDATES, PAY, PROBE
from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Closed,
    Completed,
    Evidence,
    Garbage,
    HttpStatus,
    Kind,
    NotConnected,
    NotExecuted,
    Refused,
    TimedOut,
    Unknown,
)
from flash_driver.transports.call_log import CallLog
from flash_driver.transports.capabilities import Capabilities
from flash_driver.transports.delivery import Delivery
from flash_driver.transports.router import Router
from flash_driver.transports.websocket.handshake import Limits
from flash_driver.transports.websocket.transport import SocketTransport
from tests.support.sockets import Peer, Served, accepting, free_port, relayed, served, within
from tests.support.waiting import undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_driver.flash_api.documents import Document, Operation
    from flash_driver.transports.base import Late

CREATED = Answer({"lnUsdInvoiceCreate": {"errors": [], "invoice": {}}})
BLOCKED = Answer({"lnUsdInvoiceCreate": {"errors": [{"message": "no more", "code": "TOO_MANY_REQUEST"}]}})
PAID = Answer({"lnInvoicePaymentSend": {"errors": [], "status": "SUCCESS"}})


class Fake:
    """A transport that reports what a test tells it to."""

    prober: Final = None
    anonymous: Final = False
    shows_credential: Final = True
    counts_as: Final[Mapping[Document, Document]] = {}

    def __init__(self, name: str, *evidence: Evidence) -> None:
        self._name = name
        self._evidence: Iterator[Evidence] = iter(evidence)
        self.asked: list[Operation] = []
        self.seconds: list[float] = []
        self.seconds_to_connect: list[float] = []

    @property
    def name(self) -> str:
        """The name it answers to."""
        return self._name

    async def ready(self, deadline: Deadline) -> Fake:
        """Be ready at once."""
        self.seconds_to_connect.append(deadline.remaining)
        return self

    async def execute(self, operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:  # noqa: ARG002 - as transports have it
        """Report the next evidence."""
        self.asked.append(operation)
        self.seconds.append(deadline.remaining)
        return next(self._evidence)

    async def aclose(self) -> None:
        """Do nothing."""


def create() -> Operation:
    """Return an operation that leaves an invoice behind."""
    return INVOICE_CREATE_USD(input={})


def pay(*, key: bool) -> Operation:
    """Return a payment, with an idempotency key or without."""
    return PAY(input={"idempotencyKey": "k"} if key else {}, repeatable=key)


def payload(**fields: object) -> Answer:
    """Return the payload of a payment."""
    return Answer({"lnInvoicePaymentSend": fields})


async def deliver(operation: Operation, *ways: Fake, memory: Capabilities | None = None, **more: Any) -> Delivery:
    """Carry an operation out over fake transports."""
    return await Router(ways, memory or Capabilities()).perform(operation, Deadline.after(10), **more)


# --- order ----------------------------------------------------------------------------------------------------------


async def test_first_way_that_works_is_the_only_one() -> None:
    """What the first transport does, no other is asked."""
    first, second = Fake("http", CREATED), Fake("graphql", CREATED)
    delivery = await deliver(create(), first, second)
    assert delivery == Delivery(Completed(CREATED.data or {}), "http", document=INVOICE_CREATE_USD)
    assert (len(first.asked), len(second.asked)) == (1, 0)


async def test_nothing_is_begun_after_the_close() -> None:
    """A call that goes on after the close tries no further way, and nothing was executed."""
    first, second = Fake("http", NotConnected("refused")), Fake("graphql", CREATED)
    router = Router((first, second), Capabilities())
    real = first.execute

    async def close_meanwhile(operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:
        router.close()
        return await real(operation, deadline, late)

    first.execute = close_meanwhile  # type: ignore[method-assign]  # closes at the worst moment
    delivery = await router.perform(create(), Deadline.after(10))
    assert delivery.reasons == {"http": "refused", "graphql": "the client was closed"}
    assert isinstance(delivery.outcome, NotExecuted)
    assert second.asked == []


async def test_next_way_after_what_was_certainly_not_executed() -> None:
    """Each transport that did not do is named with its reason, in the order tried."""
    ways = Fake("a", NotConnected("refused")), Fake("b", HttpStatus(401)), Fake("c", CREATED)
    delivery = await deliver(create(), *ways)
    assert isinstance(delivery.outcome, Completed)
    assert delivery.transport == "c"
    assert list(delivery.reasons.items()) == [("a", "refused"), ("b", "HTTP 401")]
    assert delivery.causes == {Cause.UNREACHABLE, Cause.CREDENTIAL}


@pytest.mark.parametrize("operation", [PROBE(), create(), pay(key=False), pay(key=True)])
async def test_payments_too_go_on_after_what_was_not_executed(operation: Operation) -> None:
    """What was certainly not executed may be sent elsewhere, money or not."""
    answer = PAID if operation.document.kind is Kind.SEND else CREATED
    delivery = await deliver(operation, Fake("a", NotConnected("refused")), Fake("b", answer))
    assert isinstance(delivery.outcome, Completed)


async def test_refusal_is_the_end() -> None:
    """A server that considered the request is not asked again in another way."""
    ways = Fake("a", BLOCKED), Fake("b", CREATED)
    delivery = await deliver(create(), *ways)
    assert isinstance(delivery.outcome, Refused)
    assert (delivery.transport, len(ways[1].asked)) == ("a", 0)


async def test_a_gateway_s_limit_is_no_refusal() -> None:
    """What a gateway takes no more of may go elsewhere, and that way is left alone for a second, then for two."""
    clock = Clock()
    memory = Capabilities(clock)
    for pause in (1, 2, 4):
        delivery = await deliver(create(), throttled := Fake("a", HttpStatus(429)), memory=memory)
        assert delivery.causes == {Cause.THROTTLED}
        assert delivery.retry_after == timedelta(seconds=pause)
        delivery = await deliver(create(), throttled, Fake("b", CREATED), memory=memory)
        assert (delivery.transport, len(throttled.asked)) == ("b", 1)
        clock.now += pause
    delivery = await deliver(create(), Fake("a", HttpStatus(429, timedelta(seconds=9))), memory=memory)
    assert delivery.retry_after == timedelta(seconds=9)
    clock.now += 9
    await deliver(create(), Fake("a", CREATED), memory=memory)
    assert (await deliver(create(), Fake("a", HttpStatus(429)), memory=memory)).retry_after == timedelta(seconds=1)


async def test_nothing_works() -> None:
    """When all fail, the verdict is NotExecuted and lists every one."""
    delivery = await deliver(create(), Fake("a", NotConnected("refused")), Fake("b", HttpStatus(404)))
    assert delivery.outcome == NotExecuted("no transport worked")
    assert delivery.reasons == {"a": "refused", "b": "HTTP 404"}


async def test_no_ways_at_all() -> None:
    """A router without transports says that none worked."""
    assert (await deliver(create())).outcome == NotExecuted("no transport worked")


# --- what is lost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [PROBE(), create(), pay(key=True)])
@pytest.mark.parametrize("evidence", [TimedOut(), Closed(None), HttpStatus(502), Garbage("HTML")])
async def test_repeatable_goes_on_after_a_loss(operation: Operation, evidence: Evidence) -> None:
    """A question, an invoice, or a payment with a key is sent again, exactly as it was."""
    answer = PAID if operation.document.kind is Kind.SEND else CREATED
    ways = Fake("a", evidence), Fake("b", answer)
    delivery = await deliver(operation, *ways)
    assert isinstance(delivery.outcome, Completed)
    assert ways[0].asked[0] is ways[1].asked[0]


@pytest.mark.parametrize("evidence", [TimedOut(), Closed(None), Closed(4403), HttpStatus(502), Garbage("HTML")])
async def test_payment_without_a_key_is_never_repeated(evidence: Evidence) -> None:
    """A payment that may have been made is not sent again on any way."""
    ways = Fake("a", evidence), Fake("b", PAID)
    delivery = await deliver(pay(key=False), *ways)
    assert isinstance(delivery.outcome, Unknown)
    assert delivery.transport == "a"
    assert delivery.reasons == {"a": delivery.outcome.reason}
    assert ways[1].asked == []


async def test_server_that_does_not_know_is_not_asked_on_another_way() -> None:
    """When the server itself says that the payment is in flight, another transport knows no better."""
    ways = Fake("a", payload(status="PENDING", errors=[])), Fake("b", PAID)
    delivery = await deliver(pay(key=True), *ways)
    assert isinstance(delivery.outcome, Unknown)
    assert ways[1].asked == []


@pytest.mark.parametrize("operation", [create(), pay(key=True)])
async def test_loss_outweighs_what_was_not_executed(operation: Operation) -> None:
    """When one may have executed it and no other did, the verdict is that nobody knows."""
    ways = Fake("a", NotConnected("refused")), Fake("b", Closed(None)), Fake("c", HttpStatus(401))
    delivery = await deliver(operation, *ways)
    assert delivery.outcome == Unknown("socket dropped")
    assert delivery.transport == "b"
    assert delivery.reasons == {"a": "refused", "b": "socket dropped", "c": "HTTP 401"}


async def test_refusal_of_a_repetition_does_not_settle_a_lost_payment() -> None:
    """After a loss, `insufficient balance` may mean that the lost sending spent it: that is unknown, not failed."""
    refusal = payload(status="FAILURE", errors=[{"message": "too little", "code": "INSUFFICIENT_BALANCE"}])
    ways = Fake("a", Closed(None)), Fake("b", refusal), Fake("c", PAID)
    delivery = await deliver(pay(key=True), *ways)
    assert delivery.outcome == Unknown("socket dropped")
    assert delivery.reasons == {"a": "socket dropped", "b": "too little"}
    assert ways[2].asked == []


async def test_failure_of_the_payment_itself_settles_a_lost_one() -> None:
    """The same key brings out that the payment failed, for the lost sending as for its repetition."""
    delivery = await deliver(pay(key=True), Fake("a", Closed(None)), Fake("b", payload(status="FAILURE", errors=[])))
    assert delivery.outcome == Refused("the payment failed", definite=True)
    assert delivery.transport == "b"


async def test_refusal_after_a_lost_invoice_is_a_refusal() -> None:
    """An invoice that may exist harms nobody, so a refusal of the second attempt is the verdict."""
    with capture_logs() as entries:
        delivery = await deliver(create(), Fake("a", TimedOut()), Fake("b", BLOCKED))
    assert isinstance(delivery.outcome, Refused)
    assert [(entry["event"], entry["transport"]) for entry in entries] == [
        ("an invoice may exist that nobody will use", "a")
    ]


# --- time -----------------------------------------------------------------------------------------------------------


async def test_time_is_shared() -> None:
    """Each transport gets half of what is left to connect while another may follow, but all of it for its answer."""
    ways = [Fake(name, NotConnected("no")) for name in ("a", "b", "c")]
    await deliver(create(), *ways)
    (first,), (second,), (third,) = (way.seconds_to_connect for way in ways)
    assert 4 < first <= 5
    assert 4 < second <= 5
    assert 9 < third <= 10
    assert all(9 < seconds <= 10 for way in ways for seconds in way.seconds)


async def test_an_answer_that_is_slow_is_waited_for_to_the_end() -> None:
    """A server that lives and is slow gets one request, not one on each way, and its answer is used."""

    async def think(peer: Peer) -> None:
        await peer.acknowledge()
        while True:
            operation_id, _ = await peer.operation()
            await asyncio.sleep(1.5)
            await peer.answer(operation_id, **(CREATED.data or {}))

    way = Fake("http", CREATED)

    async def attempt() -> tuple[type, str | None]:
        async with served(think) as server:
            _, socket = over(server, way)
            memory = Capabilities()
            memory.learn("websocket", Completed({}))
            delivery = await Router([socket, way], memory).perform(create(), Deadline.after(2.5))
            await socket.aclose()
            return type(delivery.outcome), delivery.transport

    assert await undisturbed(attempt) == (Completed, "websocket")
    assert way.asked == []


async def test_after_the_end_no_other_way_is_begun() -> None:
    """Where the time is over with a request written, the other ways are not named for what they never tried."""
    kinds = Kinds(silent=True)
    async with served(kinds) as server:
        memory = Capabilities()
        memory.learn("websocket", Completed({}))
        router, socket = over(server, way := Fake("http", CREATED), memory=memory)
        delivery = await router.perform(create(), Deadline.after(2))
        await socket.aclose()
    assert delivery.reasons == {"websocket": "no answer in time"}
    assert way.asked == []


async def test_a_dead_socket_is_not_waited_for() -> None:
    """A peer that gives no sign of life is dropped long before the deadline, and the next way is tried."""
    limits = Limits(close_timeout=0.2, suspicion_after=0.1, suspicion_timeout=0.2)
    async with served(Kinds(silent=True)) as server, relayed(server.url) as (url, relay):
        memory = Capabilities()
        memory.learn("websocket", Completed({}))
        socket, way = SocketTransport(server.endpoint(url=url), limits), Fake("http", CREATED)
        await socket.connection(Deadline.after(20))
        relay.frozen = True
        async with within():
            delivery = await Router([socket, way], memory).perform(create(), Deadline.after(20))
        assert (delivery.transport, delivery.reasons) == ("http", {"websocket": "socket dropped"})
        await socket.aclose()


async def test_a_deaf_server_leaves_time_for_the_next_way() -> None:
    """A socket that takes everything and says nothing does not eat up the whole budget."""
    async with accepting() as port, served(Peer.serve_for_ever) as server:
        socket = SocketTransport(server.endpoint(url=f"ws://127.0.0.1:{port}/"))
        way = Fake("http", CREATED)
        router = Router([socket, way], Capabilities())
        async with within():
            delivery = await router.perform(create(), Deadline.after(3))
        await socket.aclose()
    assert isinstance(delivery.outcome, Completed)
    assert delivery.reasons == {"websocket": "not connected in time"}
    assert way.seconds[0] > 0.1


# --- memory ---------------------------------------------------------------------------------------------------------


async def test_what_does_not_work_is_passed_over() -> None:
    """The second request goes straight to what works; a way with passing trouble is tried last."""
    memory = Capabilities()
    for _ in range(2):
        ways = Fake("a", HttpStatus(401), CREATED), Fake("b", CREATED)
        delivery = await deliver(create(), *ways, memory=memory)
        assert delivery.transport == "b"
    assert ways[0].asked == []
    assert delivery.reasons == {"a": "HTTP 401 (remembered)"}
    assert delivery.causes == {Cause.CREDENTIAL}
    ways = Fake("a", CREATED), Fake("b", NotConnected("refused"))
    delivery = await deliver(create(), *ways, memory=memory)
    assert delivery.transport == "a"


async def test_a_way_that_declines_gets_no_last_chance() -> None:
    """A server that executes nothing there is not asked again before the memory fades."""
    memory = Capabilities()
    memory.learn("a", NotExecuted("only subscriptions", Cause.DECLINED))
    way = Fake("a", CREATED)
    delivery = await deliver(create(), way, Fake("b", NotConnected("refused")), memory=memory)
    assert delivery.outcome == NotExecuted("no transport worked")
    assert delivery.reasons == {"a": "only subscriptions (remembered)", "b": "refused"}
    assert way.asked == []


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


# --- the story ------------------------------------------------------------------------------------------------------


async def test_story_of_a_fallback() -> None:
    """Which way is attempted, that the request goes out on it, and why another one is tried."""
    memory = Capabilities()
    memory.learn("websocket", NotExecuted("only subscriptions", Cause.DECLINED))
    with capture_logs() as entries:
        call_log = CallLog(get_logger(), "creating invoice", "invoice created")
        ways = Fake("websocket"), Fake("http", HttpStatus(401)), Fake("graphql", CREATED)
        await deliver(create(), *ways, memory=memory, call_log=call_log)
    assert [entry["event"] for entry in entries] == [
        "passing over WebSocket",
        "attempting HTTP",
        "creating invoice via HTTP",
        "fell back to GraphQL client because HTTP failed",
        "attempting GraphQL client",
        "creating invoice via GraphQL client",
    ]
    assert entries[3]["why"] == "HTTP 401"


async def test_questions_are_attempted_silently() -> None:
    """A question on the way to an invoice is not told as the invoice."""
    with capture_logs() as entries:
        call_log = CallLog(get_logger(), "creating invoice", "invoice created")
        await deliver(PROBE(), Fake("http", Answer({})), call_log=call_log)
    assert [entry["event"] for entry in entries] == ["attempting HTTP"]


# --- the socket -----------------------------------------------------------------------------------------------------


class Kinds:
    """A server on a socket that treats questions and mutations as it is told, and counts them."""

    def __init__(self, *, closes: bool = False, silent: bool = False) -> None:
        self.closes = closes
        self.silent = silent
        self.asked: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        """Serve one connection."""
        await peer.acknowledge()
        while True:
            message = await peer.hear()
            if message["type"] != "subscribe":
                continue
            name = message["payload"]["operationName"]
            self.asked.append(name)
            if name == "MyUpdates" or self.silent:
                continue
            if self.closes:
                await peer.socket.close(4500)
            await peer.answer(message["id"], **(CREATED.data or {}) if name == "InvoiceCreate" else {"a": 1})


def over(
    server: Served, *more: Fake, memory: Capabilities | None = None, **options: Any
) -> tuple[Router, SocketTransport]:
    """Make a router with a real socket in front of other ways."""
    limits = Limits(close_timeout=0.2, suspicion_timeout=0.2)
    socket = SocketTransport(server.endpoint(**options), limits)
    return Router([socket, *more], memory or Capabilities()), socket


async def test_first_mutation_is_preceded_by_a_harmless_question() -> None:
    """Whether a server executes on its socket is proved once, before anything is at stake."""
    kinds, memory = Kinds(), Capabilities()
    async with served(kinds) as server:
        router, socket = over(server, memory=memory)
        for _ in range(2):
            assert isinstance((await router.perform(create(), Deadline.after(20))).outcome, Completed)
        assert memory.executes("websocket") is True
        await socket.aclose()
    assert kinds.asked == ["Probe", "InvoiceCreate", "InvoiceCreate"]


async def test_a_question_is_its_own_proof() -> None:
    """After a question was answered, the first mutation needs no other proof."""
    kinds = Kinds()
    async with served(kinds) as server:
        router, socket = over(server)
        for operation in (PROBE(), create()):
            assert isinstance((await router.perform(operation, Deadline.after(20))).outcome, Completed)
        await socket.aclose()
    assert kinds.asked == ["Probe", "InvoiceCreate"]


async def test_many_at_once_ask_one_question() -> None:
    """Ten invoices on a cold socket share the proof."""
    kinds = Kinds()
    async with served(kinds) as server:
        router, socket = over(server)
        asked = [router.perform(create(), Deadline.after(20)) for _ in range(10)]
        assert {type(each.outcome) for each in await asyncio.gather(*asked)} == {Completed}
        await socket.aclose()
    assert kinds.asked.count("Probe") == 1


async def test_a_question_spares_live_subscriptions() -> None:
    """While somebody listens, even the first question goes out on a socket of its own, for a strict server's sake."""
    kinds = Kinds(closes=True)
    async with served(kinds) as server:
        router, socket = over(server, Fake("http", Answer({})))
        subscription = await socket.open_subscription(MY_UPDATES(), Deadline.after(20))
        delivery = await router.perform(PROBE(), Deadline.after(20))
        assert delivery.transport == "http"
        assert "4500" in delivery.reasons["websocket"]
        assert delivery.causes == {Cause.CLOSED}
        assert socket.prober.subscribed
        assert await router.learn_whether_socket_executes(Deadline.after(20)) is False
        assert len(server.peers) == 2
        await subscription.aclose()
        await socket.aclose()


async def test_declining_socket_is_remembered() -> None:
    """After one proof to the contrary the socket is not asked again."""
    kinds = Kinds(closes=True)
    async with served(kinds) as server:
        router, socket = over(server, Fake("http", CREATED, CREATED))
        for _ in range(2):
            assert (await router.perform(create(), Deadline.after(20))).transport == "http"
        await socket.aclose()
    assert kinds.asked == ["Probe"]


@pytest.mark.parametrize("operation", [create(), PROBE()])
async def test_stray_refusal_heals(operation: Operation) -> None:
    """When nothing else works, a socket that declined once is asked again harmlessly after a while, and used."""
    clock, kinds = Clock(), Kinds()
    memory = Capabilities(clock)
    memory.learn("websocket", NotExecuted("only subscriptions", Cause.DECLINED))
    async with served(kinds) as server:
        router, socket = over(server, Fake("http", *[HttpStatus(401)] * 2), memory=memory)
        first = await router.perform(operation, Deadline.after(20))
        assert first.reasons == {"websocket": "only subscriptions (remembered)", "http": "HTTP 401"}
        assert kinds.asked == []
        clock.now += 30
        second = await router.perform(operation, Deadline.after(20))
        assert (type(second.outcome), second.transport) == (Completed, "websocket")
        assert memory.executes("websocket") is True
        await socket.aclose()
    assert kinds.asked == ["Probe", operation.document.name]


async def test_decliner_is_not_asked_again_and_again() -> None:
    """A server that really declines hears one harmless question per doubt, rarer each time, whatever else fails."""
    clock, kinds = Clock(), Kinds(closes=True)
    memory = Capabilities(clock)
    async with served(kinds) as server:
        router, socket = over(server, Fake("http", *[NotConnected("refused")] * 100), memory=memory)
        asked = []
        for seconds in (0, 29, 1, 59, 1, 119, 1):
            clock.now += seconds
            many = [router.perform(create(), Deadline.after(20)) for _ in range(5)]
            assert {type(each.outcome) for each in await asyncio.gather(*many)} == {NotExecuted}
            asked.append(kinds.asked.count("Probe"))
        await socket.aclose()
    assert asked == [1, 1, 2, 2, 3, 3, 4]
    assert set(kinds.asked) == {"Probe"}


async def test_decliner_is_left_alone_while_something_works() -> None:
    """However old the memory is, what works is used, with all the time there is, and the socket is not asked."""
    clock, kinds, way = Clock(), Kinds(), Fake("http", CREATED)
    memory = Capabilities(clock)
    memory.learn("websocket", NotExecuted("only subscriptions", Cause.DECLINED))
    clock.now += 3000
    async with served(kinds) as server:
        router, socket = over(server, way, memory=memory)
        assert (await router.perform(create(), Deadline.after(20))).transport == "http"
        await socket.aclose()
    assert kinds.asked == []
    assert way.seconds[0] > 15


async def test_doubt_sends_no_payment_twice() -> None:
    """A payment that may have been made elsewhere is not sent on the socket, doubtful or not."""
    clock, kinds = Clock(), Kinds()
    memory = Capabilities(clock)
    memory.learn("websocket", NotExecuted("only subscriptions", Cause.DECLINED))
    clock.now += 3000
    async with served(kinds) as server:
        router, socket = over(server, Fake("http", TimedOut()), memory=memory)
        assert isinstance((await router.perform(pay(key=False), Deadline.after(20))).outcome, Unknown)
        await socket.aclose()
    assert kinds.asked == []


async def test_no_connection_is_told_as_such() -> None:
    """A socket that can't be opened is named with the real reason, and the mutation is not told as sent on it."""
    async with served(Kinds()) as server:
        router, socket = over(server, Fake("http", CREATED, Answer({})), url=f"ws://127.0.0.1:{free_port()}/")
        with capture_logs() as entries:
            call_log = CallLog(get_logger(), "creating invoice", "invoice created")
            delivery = await router.perform(create(), Deadline.after(20), call_log)
        assert delivery.reasons == {"websocket": "the connection was refused"}
        assert [entry["event"] for entry in entries if entry["log_level"] == "info"] == [
            "attempting WebSocket",
            "WebSocket not connected, connecting",
            "fell back to HTTP because WebSocket failed",
            "attempting HTTP",
            "creating invoice via HTTP",
        ]
        assert (await router.perform(PROBE(), Deadline.after(20))).transport == "http"
        await socket.aclose()


async def test_connecting_is_told_before_sending() -> None:
    """Also on a server that is known, the connection comes first and then the mutation."""
    async with served(Kinds()) as server:
        router, socket = over(server)
        await router.perform(create(), Deadline.after(20))
        await socket.aclose()
        with capture_logs() as entries:
            call_log = CallLog(get_logger(), "creating invoice", "invoice created")
            await router.perform(create(), Deadline.after(20), call_log)
        await socket.aclose()
    assert [entry["event"] for entry in entries if entry["log_level"] == "info"] == [
        "attempting WebSocket",
        "WebSocket not connected, connecting",
        "creating invoice via WebSocket",
    ]


async def test_question_without_connection_falls_back() -> None:
    """A question on a socket that can't be opened goes to the next way."""
    async with served(Kinds()) as server:
        router, socket = over(server, Fake("http", Answer({})), url=f"ws://127.0.0.1:{free_port()}/")
        delivery = await router.perform(PROBE(), Deadline.after(20))
        assert (delivery.transport, delivery.reasons) == ("http", {"websocket": "the connection was refused"})
        await socket.aclose()


async def test_proof_that_stays_without_answer() -> None:
    """A mutation is not risked on a socket that did not answer the harmless question, and that is remembered."""
    kinds, memory = Kinds(silent=True), Capabilities()
    async with served(kinds) as server:
        router, socket = over(server, Fake("http", CREATED), memory=memory)
        await socket.connection(Deadline.after(20))
        delivery = await router.perform(create(), Deadline.after(1))
        assert delivery.transport == "http"
        assert delivery.reasons == {"websocket": "a harmless question came to nothing: no answer in time"}
        assert delivery.causes == {Cause.SLOW}
        assert memory.unable("websocket") is not None
        assert await router.learn_whether_socket_executes(Deadline.after(0.1)) is None
        await socket.aclose()
    assert "InvoiceCreate" not in kinds.asked


async def test_nobody_waits_for_another_s_proof_beyond_the_own_time() -> None:
    """A hurried request is not held up by a patient one that is still asking."""
    async with served(Kinds(silent=True)) as server:
        router, socket = over(server, Fake("http", CREATED))
        patient = asyncio.create_task(router.learn_whether_socket_executes(Deadline.after(20)))
        await server.acknowledged()
        async with within():
            delivery = await router.perform(create(), Deadline.after(2))
        assert delivery.transport == "http"
        assert "no time was left to ask" in delivery.reasons["websocket"]
        patient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await patient
        await socket.aclose()


async def test_without_a_socket_there_is_nothing_to_learn() -> None:
    """A router of HTTP routes knows that no socket executes."""
    assert await Router([Fake("http")], Capabilities()).learn_whether_socket_executes(Deadline.after(1)) is False


async def test_late_answers_reach_the_callback() -> None:
    """What comes over the socket after its time is handed to the one who asked for it."""
    late: asyncio.Queue[Evidence] = asyncio.Queue()

    async def hesitate(peer: Peer) -> None:
        await peer.acknowledge()
        operation_id, _ = await peer.operation()
        await peer.answer(operation_id, a=1)
        operation_id, _ = await peer.operation()
        await go_on.wait()
        await peer.answer(operation_id, **(PAID.data or {}))

    go_on = asyncio.Event()
    async with served(hesitate) as server:
        router, socket = over(server)
        assert await router.learn_whether_socket_executes(Deadline.after(20))
        delivery = await router.perform(pay(key=False), Deadline.after(0.2), late=late.put_nowait)
        assert isinstance(delivery.outcome, Unknown)
        go_on.set()
        async with within():
            assert await late.get() == PAID
        await socket.aclose()
