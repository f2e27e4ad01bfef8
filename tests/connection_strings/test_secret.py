from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from connection_strings import Secret

CANARY = "ory_st_CANARY"
MASK = "**********"


@dataclass
class Record:
    """What a host may keep a token in."""

    token: Secret


class Row(NamedTuple):
    """Another way to keep a token."""

    token: Secret


def _fail(token: Secret) -> None:
    raise ValueError(token)


def test_reveal() -> None:
    """`reveal` is the way out."""
    assert Secret(CANARY).reveal() == CANARY


@given(st.text(st.characters(codec=None)))
@example("\ud800")
def test_reveals_what_it_was_given(value: str) -> None:
    """Any text comes out as it went in, and equals itself, even half a surrogate pair."""
    assert Secret(value).reveal() == value
    assert Secret(value) == Secret(value)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        pytest.param(repr(Secret(CANARY)), f"Secret('{MASK}')", id="repr"),
        pytest.param(str(Secret(CANARY)), MASK, id="str"),
        pytest.param(f"{Secret(CANARY)}", MASK, id="f-string"),
        pytest.param(f"{Secret(CANARY)!r:.6}", "Secret", id="f-string with a conversion"),
        pytest.param(f"{Secret(CANARY):>12}", f"  {MASK}", id="f-string with a width"),
        pytest.param("{}".format(Secret(CANARY)), MASK, id="format"),  # noqa: UP032 - the old way is tried too
        pytest.param("%s %r" % (Secret(CANARY), Secret(CANARY)), f"{MASK} Secret('{MASK}')", id="percent"),  # noqa: UP031 - the old way is tried too
        pytest.param(repr(Record(Secret(CANARY))), f"Record(token=Secret('{MASK}'))", id="dataclass"),
        pytest.param(str(asdict(Record(Secret(CANARY)))), f"{{'token': Secret('{MASK}')}}", id="asdict"),
        pytest.param(repr(Row(Secret(CANARY))), f"Row(token=Secret('{MASK}'))", id="named tuple"),
        pytest.param(str([Secret(CANARY)]), f"[Secret('{MASK}')]", id="list"),
        pytest.param(str({"token": Secret(CANARY)}), f"{{'token': Secret('{MASK}')}}", id="dict"),
        pytest.param(str(ValueError(Secret(CANARY))), MASK, id="exception"),
        pytest.param(repr(ValueError(Secret(CANARY))), f"ValueError(Secret('{MASK}'))", id="exception's repr"),
        pytest.param(ascii(Secret(CANARY)), f"Secret('{MASK}')", id="ascii"),
        pytest.param(json.dumps({"token": Secret(CANARY)}, default=str), f'{{"token": "{MASK}"}}', id="JSON by str"),
    ],
)
def test_masked(shown: str, text: str) -> None:
    """However a secret becomes text, the text is a mask."""
    assert shown == text


def test_mask_does_not_tell_the_length() -> None:
    """The mask is the same for every value, also for none."""
    assert str(Secret("")) == str(Secret("x")) == str(Secret("x" * 99))


def test_masked_in_a_traceback() -> None:
    """A traceback with the values of its variables shows the mask."""
    with pytest.raises(ValueError, match=r"^\*+$") as caught:
        _fail(Secret(CANARY))

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())

    assert f"token = Secret('{MASK}')" in shown
    assert CANARY not in shown


def test_masked_in_logging(caplog: pytest.LogCaptureFixture) -> None:
    """The standard logger writes the mask."""
    with caplog.at_level(logging.INFO):
        logging.getLogger("host").info("token %s, %r", Secret(CANARY), Secret(CANARY))

    assert caplog.messages == [f"token {MASK}, Secret('{MASK}')"]


@pytest.mark.parametrize(
    "renderer",
    [
        structlog.processors.JSONRenderer(),
        structlog.processors.KeyValueRenderer(),
        structlog.processors.LogfmtRenderer(),
        structlog.dev.ConsoleRenderer(colors=False),
    ],
    ids=lambda renderer: type(renderer).__name__,
)
def test_masked_in_structlog(renderer: Any) -> None:
    """Each of structlog's renderers writes the mask, also in a traceback with the values of its variables."""
    token = Secret(CANARY)
    with pytest.raises(ValueError, match=r"^\*+$") as caught:
        _fail(token)
    trace = structlog.tracebacks.ExceptionDictTransformer(show_locals=True)((caught.type, caught.value, caught.tb))

    shown = renderer(
        None, "info", {"event": "connecting", "token": token, "nested": [{"token": token}], "trace": trace}
    )

    assert MASK in shown
    assert CANARY not in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(protocol: int) -> None:
    """No pickle can hold a secret, alone or inside something else."""
    for holder in (Secret(CANARY), Record(Secret(CANARY)), [Secret(CANARY)]):
        with pytest.raises(TypeError, match=r"^a Secret can't be pickled; reveal\(\) it where it is needed$"):
            pickle.dumps(holder, protocol)


def test_json_is_refused() -> None:
    """No JSON can hold a secret."""
    with pytest.raises(TypeError, match=r"^Object of type Secret is not JSON serializable$"):
        json.dumps({"token": Secret(CANARY)})


def test_a_copy_is_the_secret_itself() -> None:
    """Copying makes no second place where the value lies."""
    secret = Secret(CANARY)

    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_compared_by_value() -> None:
    """Two secrets of one value are equal and hash alike; a secret never equals its text."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_true_when_there_is_something_to_hide() -> None:
    """An empty secret is false, so that `if token` asks what it seems to ask."""
    assert Secret("x")
    assert not Secret("")


@pytest.mark.parametrize("value", [None, b"token", 1, Secret("token")])
def test_text_only(value: Any) -> None:
    """What is not a str is refused, without showing it."""
    with pytest.raises(TypeError, match=rf"^a Secret holds text \(str\), not {type(value).__name__}$"):
        Secret(value)


def test_has_no_dict() -> None:
    """There are no attributes to dump."""
    with pytest.raises(TypeError, match="vars"):
        vars(Secret(CANARY))
    with pytest.raises(AttributeError):
        Secret(CANARY).value = "x"  # type: ignore[attr-defined]  # that there is none is the point
