"""Every reader of what the server says meets every wrong type, and texts of megabytes, in every field there is."""

from __future__ import annotations

import gc
import json
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

from connection_strings.bolt11.reader import read as read_bolt11
from flash_driver.common import exact_json
from flash_driver.common.masking import LONGEST_SHOWN
from flash_driver.flash_api import error_words, events, replies
from flash_driver.flash_api.outcomes import (
    NotExecuted,
    Refused,
    Unknown,
)
from flash_driver.transports.http import read_reply, read_retry_after
from flash_driver.transports.websocket.protocol import GraphQLTransportWS, ProtocolViolation
from tests.support.altering import leaves, replaced
from tests.support.answers import DOCUMENTS, WRONG, answer_to
from tests.support.readers import READERS, classify_everywhere, read_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


def errors_with(leaf: Any) -> dict[str, Any]:
    """Return an error that has every field the driver looks at, each with this value."""
    extensions = {"code": leaf, "retryAfterSeconds": leaf}
    return {"message": leaf, "code": leaf, "path": [leaf], "locations": [leaf], "extensions": extensions}


SAMPLES: Final = [
    *{str([*answer.values()]): answer for answer in (answer_to(each, "x") for each in DOCUMENTS.values())}.values(),
    *(answer_to(DOCUMENTS[name], 1, "RealtimePrice") for name in ("MyUpdates", "Price", "Balance", "Pay")),
    errors_with("x"),
]


def test_every_reader_is_met() -> None:
    """A reader that is added to the modules is in the table above."""
    named = {*replies.__all__, *events.__all__} - {"preimage_of"}
    functions = {name for name in named if name[0].islower()}
    assert functions == set(READERS)


@pytest.mark.many_cases
def test_every_wrong_type_in_every_field() -> None:
    """Each value of each answer, replaced by each wrong one, is read or is a LightningError; texts are short."""
    met = 0
    for sample in SAMPLES:
        for path in leaves(sample):
            for text in WRONG:
                try:
                    data = exact_json.decode(replaced(sample, path, text) or "")
                except exact_json.MalformedJSON:
                    continue
                met += 1
                of_errors = {*path} & {*errors_with(""), "errors", "status"}
                for told in (*read_everywhere(data), *(classify_everywhere(data) if of_errors else ())):
                    if isinstance(told, str | NotExecuted | Refused | Unknown):
                        assert len(str(told)) <= LONGEST_SHOWN + 300, (path, text[:40], told)
    assert met > 2_000


@pytest.mark.parametrize("text", ["", "null", "5", '"x"', "[]", *WRONG])
def test_a_reply_that_is_no_object(text: str) -> None:
    """A whole reply or message of any type is evidence or a violation, and no exception of another kind."""
    body = text.encode()
    read_reply(200, {}, body)
    read_reply(500, {}, body)
    for message in (text, f'{{"type":{text}}}', f'{{"type":"next","id":{text},"payload":{text}}}'):
        protocol = GraphQLTransportWS()
        protocol.init({})
        protocol.receive('{"type":"connection_ack"}')
        try:
            protocol.receive(message)
        except ProtocolViolation as violation:
            assert len(str(violation)) < 100  # noqa: PT017 - the promise is about what it says, if it is raised


@pytest.mark.parametrize(
    "value",
    [
        "", "-1", "9" * 400, "1e9", "\u0663", "never", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 99 Jan 2026 99:99:99 GMT", "Sat, 01 Jan 0001 00:00:00 +2359",
        "," * 8000,
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999", "(" * 8000,
    ],
)  # fmt: skip
def test_when_to_come_back(value: str) -> None:
    """Whatever stands in `Retry-After` and `Date`, it is a wait of a day at the longest, or none."""
    for headers in ({"Retry-After": value}, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": value}):
        wait = read_retry_after(headers)
        assert wait is None or 0 <= wait.total_seconds() <= 86_400


# --- texts of megabytes ---------------------------------------------------------------------------------------------

PIECES: Final = (
    "a", "1a", "-eyJ", "ory_st_", "bearer ", "token=", " ", "=", "\U0001f0a1", "lnbc1", "0", "does not supp",
    "API key ",
)  # fmt: skip


class Counted:
    """A pattern that notes how many characters it is given to look at."""

    def __init__(self, pattern: re.Pattern[str], seen: list[int]) -> None:
        self._pattern = pattern
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pattern, name)

        def call(*given: Any) -> Any:
            self._seen.append(max(len(each) for each in given if isinstance(each, str)))
            return method(*given)

        return call


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the characters that every pattern of the driver and its contract is given."""
    seen: list[int] = []

    def counted(value: object) -> object:
        if isinstance(value, re.Pattern):
            return Counted(value, seen)
        return tuple(map(counted, value)) if isinstance(value, tuple) else value

    replaced_any = False
    for name, module in list(sys.modules.items()):
        if not name.startswith(("flash_driver", "connection_strings")):
            continue
        for key, value in list(vars(module).items()):
            if isinstance(value, re.Pattern) or (isinstance(value, tuple) and "Pattern" in str(map(type, value))):
                monkeypatch.setattr(module, key, counted(value))
                replaced_any = True
    monkeypatch.setattr(error_words, "_CODE_BY_WORDS", counted(error_words._CODE_BY_WORDS))
    assert replaced_any
    return seen


def lines_of(work: Callable[[], object]) -> int:
    """Count the lines of Python that some work runs, and nothing that the garbage of earlier tests runs meanwhile."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    gc.disable()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def texts(piece: str) -> Iterator[str]:
    """Return a text of one and one of four million characters."""
    for length in (1_000_000, 4_000_000):
        yield piece * (length // len(piece))


@pytest.mark.many_cases
@pytest.mark.parametrize("piece", PIECES)
def test_work_does_not_grow_with_the_text(piece: str, looked_at: list[int]) -> None:
    """A text of 4 MB in every field takes as many steps as one of 1 MB, and patterns see the first characters only."""
    steps = []
    for text in texts(piece):
        answers = {str(answer_to(each, "")): answer_to(each, text) for each in DOCUMENTS.values()}
        work = [*answers.values(), errors_with(text), {"myUpdates": {"errors": [errors_with(text)]}}]

        def read(work: list[Any] = work, text: str = text) -> None:
            for data in work:
                read_everywhere(data)
                classify_everywhere(data)
            read_bolt11_of(text)
            read_retry_after({"Retry-After": text[:8190]})

        steps.append(lines_of(read))
    assert steps[0] == steps[1]
    assert max(looked_at) <= 8192


def read_bolt11_of(text: str) -> None:
    """Read what the server calls a BOLT11."""
    for each in (text, f"lnbc1{text}"):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            read_bolt11(each)


@pytest.mark.many_cases
@pytest.mark.parametrize("piece", ["a", " ", "{", '{"a":', "[", '\\"', "\x00"])
def test_messages_of_megabytes(piece: str) -> None:
    """A message of 4 MB takes as many steps as one of 1 MB: JSON is read once, by a parser that is no pattern."""
    steps = []
    for text in texts(piece):

        def read(text: str = text) -> None:
            for message in (text, json.dumps({"type": text}), json.dumps({"type": "error", "id": text})):
                protocol = GraphQLTransportWS()
                protocol.init({})
                protocol.receive('{"type":"connection_ack"}')
                with suppress(ProtocolViolation):
                    protocol.receive(message)
                read_reply(200, {}, message.encode())

        steps.append(lines_of(read))
    assert abs(steps[0] - steps[1]) <= 100
