from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_driver.common import exact_json as wire
from flash_driver.transports.websocket.protocol import (
    Acknowledged,
    Completed,
    Event,
    Failed,
    GraphQLTransportWS,
    Next,
    Ping,
    Pong,
    ProtocolViolation,
)


def opened() -> GraphQLTransportWS:
    """Return a conversation in which nothing was said."""
    return GraphQLTransportWS()


def initialising() -> GraphQLTransportWS:
    """Return a conversation in which `connection_init` was said."""
    protocol = opened()
    protocol.init({})
    return protocol


def acknowledged() -> GraphQLTransportWS:
    """Return a conversation in which operations may be sent."""
    protocol = initialising()
    protocol.receive('{"type":"connection_ack"}')
    return protocol


# --- what we say ----------------------------------------------------------------------------------------------------


def test_init_carries_its_payload() -> None:
    """The token travels in the payload of `connection_init`, under the key that Flash reads (flash-server.md 1.3)."""
    protocol = opened()
    said = wire.decode(protocol.init({"Authorization": "Bearer t"}))
    assert said == {"type": "connection_init", "payload": {"Authorization": "Bearer t"}}


@pytest.mark.parametrize("make", [initialising, acknowledged])
def test_init_is_said_once(make: Any) -> None:
    """A second `connection_init`, which a server closes with 4429, can't be said."""
    with pytest.raises(RuntimeError):
        make().init({})


@pytest.mark.parametrize("make", [opened, initialising])
def test_subscribe_waits_for_the_acknowledgement(make: Any) -> None:
    """A `subscribe` before the acknowledgement, which a server closes with 4401, can't be said."""
    with pytest.raises(RuntimeError):
        make().subscribe({"query": "{ a }"})


def test_subscribe_has_an_id_of_its_own() -> None:
    """Each operation gets an id that was never used on this socket: reusing one closes it with 4409."""
    protocol = acknowledged()
    said = [protocol.subscribe({"query": "{ a }", "variables": {"n": Decimal("1.50")}}) for _ in range(50)]
    assert len({operation_id for operation_id, _ in said}) == 50
    operation_id, message = said[0]
    assert wire.decode(message) == {
        "id": operation_id,
        "type": "subscribe",
        "payload": {"query": "{ a }", "variables": {"n": Decimal("1.50")}},
    }


def test_complete() -> None:
    """Ending a subscription is a message of the protocol."""
    protocol = acknowledged()
    assert wire.decode(protocol.complete("7")) == {"id": "7", "type": "complete"}


# --- what we hear ---------------------------------------------------------------------------------------------------

HEARD: dict[str, tuple[str, Event]] = {
    "ping": ('{"type":"ping"}', Ping(b'{"type":"pong"}')),
    "ping with payload": ('{"type":"ping","payload":{"a":1}}', Ping(b'{"type":"pong"}')),
    "pong": ('{"type":"pong"}', Pong()),
    "next": ('{"id":"1","type":"next","payload":{"data":{"a":1}}}', Next("1", {"a": 1}, ())),
    "next with exact numbers": (
        '{"id":"1","type":"next","payload":{"data":{"a":1.10}}}',
        Next("1", {"a": Decimal("1.10")}, ()),
    ),
    "next with errors only": (
        '{"id":"1","type":"next","payload":{"errors":[{"message":"no"}]}}',
        Next("1", None, [{"message": "no"}]),
    ),
    "next with data and errors": (
        '{"id":"1","type":"next","payload":{"data":{"a":null},"errors":[{"message":"no"}]}}',
        Next("1", {"a": None}, [{"message": "no"}]),
    ),
    "next with null": ('{"id":"1","type":"next","payload":{"data":null}}', Next("1", None, ())),
    "next with empty errors": (
        '{"id":"1","type":"next","payload":{"data":{},"errors":[]}}',
        Next("1", {}, ()),
    ),
    "next with odd errors": (
        '{"id":"1","type":"next","payload":{"errors":"boom"}}',
        Next("1", None, [{"message": "an error without a message"}]),
    ),
    "next with more than we know": (
        '{"id":"1","type":"next","extra":1,"payload":{"data":{},"extensions":{"cost":1}}}',
        Next("1", {}, ()),
    ),
    "error": (
        '{"id":"1","type":"error","payload":[{"message":"Only subscription operations are supported"}]}',
        Failed("1", [{"message": "Only subscription operations are supported"}]),
    ),
    "error with an object": ('{"id":"1","type":"error","payload":{"message":"no"}}', Failed("1", [{"message": "no"}])),
    "error with nothing": (
        '{"id":"1","type":"error","payload":[]}',
        Failed("1", [{"message": "an error without a message"}]),
    ),
    "error without payload": ('{"id":"1","type":"error"}', Failed("1", [{"message": "an error without a message"}])),
    "error with nulls": (
        '{"id":"1","type":"error","payload":[null,{"message":"no"}]}',
        Failed("1", [{"message": "no"}]),
    ),
    "complete": ('{"id":"1","type":"complete"}', Completed("1")),
}


@pytest.mark.parametrize(("text", "event"), HEARD.values(), ids=HEARD.keys())
def test_heard(text: str, event: Event) -> None:
    """Each message of the protocol means exactly this."""
    protocol = acknowledged()
    assert protocol.receive(text) == event
    assert protocol.subscribe(b"{}")[0] == "1"


@pytest.mark.parametrize("make", [opened, initialising, acknowledged])
@pytest.mark.parametrize("kind", ["ping", "pong"])
def test_signs_of_life_are_welcome_at_any_time(make: Any, kind: str) -> None:
    """A `ping` before the acknowledgement is legal; gql drops the connection for it (architecture.md)."""
    assert isinstance(make().receive(f'{{"type":"{kind}"}}'), Ping | Pong)


def test_acknowledgement() -> None:
    """`connection_ack` opens the way for operations, whatever payload it has."""
    protocol = initialising()
    assert protocol.receive('{"type":"connection_ack","payload":{"a":1}}') == Acknowledged()
    assert protocol.subscribe(b"{}")[0] == "1"


VIOLATIONS: dict[str, str | bytes] = {
    "binary": b'{"type":"pong"}',
    "nothing": "",
    "garbage": "<html>c0ffee</html>",
    "truncated": '{"id":"1","type":"next","payload":{"da',
    "null": "null",
    "a list": '[{"type":"pong"}]',
    "a number": "5",
    "a text": '"pong"',
    "no type": '{"id":"1"}',
    "a type that is no text": '{"type":["pong"]}',
    "a type nobody knows": '{"type":"c0ffee"}',
    "legacy keep-alive": '{"type":"ka"}',
    "legacy error": '{"type":"connection_error","payload":"c0ffee"}',
    "legacy data": '{"id":"1","type":"data","payload":{}}',
    "our own kind": '{"id":"1","type":"subscribe","payload":{}}',
    "a second acknowledgement": '{"type":"connection_ack"}',
    "next without id": '{"type":"next","payload":{"data":{}}}',
    "next with a number as id": '{"id":1,"type":"next","payload":{"data":{}}}',
    "next without payload": '{"id":"1","type":"next"}',
    "next without result": '{"id":"1","type":"next","payload":{"c0ffee":1}}',
    "next with a list": '{"id":"1","type":"next","payload":[]}',
    "next with odd data": '{"id":"1","type":"next","payload":{"data":["c0ffee"]}}',
    "error without id": '{"type":"error","payload":[]}',
    "complete without id": '{"type":"complete"}',
    "a number beyond all bounds": '{"id":"1","type":"next","payload":{"data":{"a":1e99999999999999999999}}}',
    "nested beyond reason": '{"id":"1","type":"next","payload":' + "[" * 100_000,
}


@pytest.mark.parametrize("text", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violations(text: str | bytes) -> None:
    """What the protocol does not know is a violation that shows nothing of the message."""
    with pytest.raises(ProtocolViolation) as caught:
        acknowledged().receive(text)
    assert str(caught.value).startswith("a ")
    assert "c0ffee" not in str(caught.value)


@pytest.mark.parametrize("make", [opened, initialising])
@pytest.mark.parametrize("kind", ["next", "error", "complete"])
def test_answers_come_after_the_acknowledgement(make: Any, kind: str) -> None:
    """Answers to operations that can't have been sent are violations."""
    with pytest.raises(ProtocolViolation, match=f"a {kind} message before connection_ack"):
        make().receive(f'{{"id":"1","type":"{kind}","payload":{{"data":{{}}}}}}')


def test_acknowledgement_of_nothing() -> None:
    """An acknowledgement before `connection_init` is a violation."""
    with pytest.raises(ProtocolViolation, match="not asked for"):
        opened().receive('{"type":"connection_ack"}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["connection_ack", "next", "error", "complete", "ping", "pong", "ka"])
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | JSON,
        "id": st.text(max_size=3) | JSON,
        "payload": st.fixed_dictionaries({}, optional={"data": JSON, "errors": JSON}) | JSON,
    },
)


@given(st.lists(MESSAGES.map(wire.encode) | st.text() | st.binary() | JSON.map(wire.encode), max_size=6))
def test_nothing_else_ever_escapes(heard: list[str | bytes]) -> None:
    """Whatever a peer says and in whichever order, it is an event or a ProtocolViolation."""
    for protocol in (opened(), initialising(), acknowledged()):
        for text in heard:
            try:
                event = protocol.receive(text)
            except ProtocolViolation as violation:
                assert str(violation)  # noqa: PT017 - an event is as good
            else:
                assert isinstance(event, Event)
