"""What BTCPay's own readers make of connection strings, amounts and BOLT11s, replayed without BTCPay.

The answers in tests/vectors/btcpay.json are BTCPay's; tests/btcpay/differential.py asked for them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connection_strings.grammar import leniencies
from tests.connection_strings.btcpay_classes import (
    DIFFERENT,
    SAME,
    UNEXPLAINED,
    bolt11_class,
    money_class,
    string_class,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "btcpay.json").read_text(encoding="utf-8"))
READERS = {"connection strings": string_class, "money": money_class, "BOLT11": bolt11_class}
CASES = [
    pytest.param(subject, name, case["text"], case["btcpay"], id=f"{subject}: {name} ({number})"[:120])
    for subject in READERS
    for name, cases in VECTORS[subject].items()
    for number, case in enumerate(cases)
]
TWICE = ("desc", "dhash", "expiry", "dhash, expiry", "desc, expiry")
"""Of a description, hash or expiry that is there twice the first counts here and the last in BTCPay, which also cuts an
expiry of centuries.
"""


@pytest.mark.parametrize(("subject", "name", "text", "btcpay"), CASES)
def test_agreement_is_as_recorded(subject: str, name: str, text: str, btcpay: Any) -> None:
    """Each text is read, or refused, side by side with BTCPay's recorded answer as it was when that was recorded."""
    assert READERS[subject](text, btcpay) == name


def test_no_value_differs_without_a_reason() -> None:
    """Where both read a text they read the same, but for what is named here; and what we alone read has a reason."""
    names = {subject: set(VECTORS[subject]) for subject in READERS}
    assert not any(UNEXPLAINED in each or DIFFERENT in each for each in (names["connection strings"], names["money"]))
    assert {each for each in names["BOLT11"] if each.startswith(DIFFERENT)} <= {
        f"{DIFFERENT} in {each}" for each in TWICE
    }
    assert UNEXPLAINED not in names["BOLT11"]


def test_leniencies_are_told() -> None:
    """What BTCPay's drivers may refuse, since it is lenient here, has words for it; what they take has none."""
    for name, cases in VECTORS["connection strings"].items():
        for case in cases:
            if name == SAME:
                assert leniencies(case["text"]) == (), case["text"]
            elif "with a note" in name:
                assert leniencies(case["text"]), case["text"]
