from __future__ import annotations

import copy
import inspect
import pickle
from datetime import timedelta

import pytest

from connection_strings import errors
from connection_strings.errors import (
    AmountMismatch,
    BackendUnavailable,
    ConnectionStringError,
    CredentialRejected,
    InvalidReply,
    InvalidRequest,
    LightningError,
    NotSupported,
    RateLimited,
    RequestRefused,
    UnknownConnectionType,
)

CASES: list[tuple[LightningError, str, dict[str, object]]] = [
    (LightningError("something"), "something", {}),
    (
        ConnectionStringError("the text is empty"),
        "the text is empty",
        {"reason": "the text is empty", "key": None, "position": None},
    ),
    (
        ConnectionStringError("the key 'a' is given twice", key="a", position=0),
        "the key 'a' is given twice (at character 1)",
        {"reason": "the key 'a' is given twice", "key": "a", "position": 0},
    ),
    (
        UnknownConnectionType("lnd", ["phoenixd", "flash"]),
        "type=lnd has no driver installed; installed: flash, phoenixd",
        {"type": "lnd", "installed": ("flash", "phoenixd"), "key": "type", "position": None},
    ),
    (
        UnknownConnectionType("flahs", ["flash", "phoenixd"]),
        "type=flahs has no driver installed; installed: flash, phoenixd; did you mean flash?",
        {"type": "flahs", "installed": ("flash", "phoenixd")},
    ),
    (
        UnknownConnectionType("clightning", []),
        "type=clightning has no driver installed; installed: none",
        {"type": "clightning", "installed": ()},
    ),
    (
        InvalidRequest("amount", "must not be negative"),
        "amount: must not be negative",
        {"field": "amount", "reason": "must not be negative"},
    ),
    (NotSupported("Flash has no channels"), "Flash has no channels", {}),
    (CredentialRejected("the token has expired"), "the token has expired", {}),
    (RequestRefused("no such wallet"), "no such wallet", {"words": "no such wallet", "code": None}),
    (
        RequestRefused("no such wallet", code="NOT_FOUND"),
        "no such wallet (NOT_FOUND)",
        {"words": "no such wallet", "code": "NOT_FOUND"},
    ),
    (
        RateLimited("too many invoices", retry_after=timedelta(minutes=5)),
        "too many invoices; retry after 300 s",
        {"words": "too many invoices", "code": None, "retry_after": timedelta(minutes=5)},
    ),
    (
        RateLimited("too many invoices", retry_after=timedelta(milliseconds=1), code="TOO_MANY"),
        "too many invoices (TOO_MANY); retry after 1 s",
        {"words": "too many invoices", "code": "TOO_MANY"},
    ),
    (
        AmountMismatch(1_000, [999, 1_001]),
        "asked for 1000 msat, could have had: 999 msat, 1001 msat",
        {"asked_msat": 1_000, "available_msat": (999, 1_001)},
    ),
    (AmountMismatch(1_000, []), "asked for 1000 msat, could have had: nothing", {"available_msat": ()}),
    (InvalidReply("the invoice is for another network"), "the invoice is for another network", {}),
    (
        BackendUnavailable("creating an invoice", {"websocket": "refused", "http": "401"}),
        "creating an invoice failed on every way to the backend: websocket: refused; http: 401",
        {"reasons": {"websocket": "refused", "http": "401"}, "executed": False},
    ),
    (
        BackendUnavailable("paying", {"http": "no reply within 5 s"}, executed=None),
        "paying failed on every way to the backend (it may have been carried out): http: no reply within 5 s",
        {"executed": None},
    ),
    (
        BackendUnavailable("reading the balance", {}),
        "reading the balance failed on every way to the backend: no way is configured",
        {"reasons": {}},
    ),
]
each = pytest.mark.parametrize(
    ("error", "text", "facts"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)


@each
def test_text_and_facts(error: LightningError, text: str, facts: dict[str, object]) -> None:
    """Every error says this sentence, and carries these facts."""
    assert str(error) == text
    assert {name: getattr(error, name) for name in facts} == facts


@each
def test_copies_keep_everything(error: LightningError, text: str, facts: dict[str, object]) -> None:
    """Every error survives a pickle, to cross from process to process, and a copy."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - made on this very line
        assert type(other) is type(error)
        assert str(other) == text
        assert vars(other) == vars(error)
        assert {name: getattr(other, name) for name in facts} == facts


def test_every_error_is_in_the_table() -> None:
    """The table has at least one row for each class."""
    classes = {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, LightningError)}

    assert {type(error) for error, _, _ in CASES} == classes


def test_tree_is_drawn_as_it_is() -> None:
    """The tree in the module's docstring names every class, below its parent."""
    drawing = errors.__doc__ or ""
    parents: list[tuple[int, str]] = []
    drawn = {}
    for line in drawing.splitlines():
        branch, dash, rest = line.partition("── ")
        name = rest.split()[0] if dash else line.strip()
        if name not in errors.__all__:
            continue
        depth = len(branch) if dash else 0
        parents = [(above, parent) for above, parent in parents if above < depth]
        drawn[name] = parents[-1][1] if parents else "Exception"
        parents.append((depth, name))

    assert drawn == {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__}


@pytest.mark.parametrize("kind", [ConnectionStringError, UnknownConnectionType, InvalidRequest])
def test_wrong_values_are_value_errors(kind: type[LightningError]) -> None:
    """What the caller got wrong is also a ValueError, for callers that know nothing of Lightning."""
    assert issubclass(kind, ValueError)
