"""What Flash's code was seen to answer (vectors/flash_captures.json), through the driver's classifier and readers."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from flash_driver.flash_api import replies
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import Document
from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Completed,
    HttpStatus,
    Kind,
    NotExecuted,
    Outcome,
    Refused,
    Unknown,
)
from tests.flash_driver.sandbox.conftest import start_lab
from tests.flash_driver.sandbox.replay import CAPTURES, Replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flash_driver.sandbox.conftest import StartLab

__all__ = ["start_lab"]

_FIELD: Final = re.compile(r"\b(ln\w+|me|realtimePrice|transactionDetails|accountDefaultWallet|userDefaultWalletId)\b")
_PERHAPS_PAID: Final = ("An unexpected error occurred", "Invoice is already paid")
_READERS: Final[dict[str, Callable[[dict[str, Any], str], object]]] = {
    "account": lambda data, _: replies.read_account(data),
    "account_capability": lambda data, _: replies.read_account(data),
    "apikey_readuser_writewallet_readtransactions_account": lambda data, _: replies.read_account(data),
    "balance": lambda data, _: replies.read_balances(data),
    "create_noamount": replies.read_created,
    "create_usd": replies.read_created,
    "cutover_complete_bob_account": lambda data, _: replies.read_account(data),
    "cutover_complete_bob_balance": lambda data, _: replies.read_balances(data),
    "dave_account": lambda data, _: replies.read_account(data),
    "feeprobe_noamount": lambda data, field: replies.read_fee_probe(data, field).fee,
    "feeprobe_usd": lambda data, field: replies.read_fee_probe(data, field).fee,
    "feeprobe_usdt": lambda data, field: replies.read_fee_probe(data, field).fee,
    "me": lambda data, _: replies.read_account(data),
    "price": lambda data, _: replies.read_price(data),
    "public/onbehalf_anonymous": replies.read_created,
    "public/way_price": lambda data, _: replies.read_price(data),
    "status_expired": lambda data, _: replies.read_invoice_status(data),
    "status_paid": lambda data, _: replies.read_invoice_status(data),
    "status_pending": lambda data, _: replies.read_invoice_status(data),
    "transaction_details": lambda data, _: replies.read_receipt_hash(data),
    "transactions": lambda data, _: replies.read_receive_ids(data),
}
"""Which reader takes the answer of which case."""


def _asked(case: dict[str, Any]) -> tuple[Kind, str | None]:
    """Name what is at stake in a case, and its root field."""
    text = CAPTURES["documents"][case["document"]]
    match = _FIELD.search(text.partition("{")[2])
    field = match[1] if match else None
    if field is None or not text.lstrip().startswith("mutation"):
        return Kind.ASK, field
    return (Kind.SEND if "Send" in field else Kind.CREATE if "Create" in field else Kind.ASK), field


def _classified(case: dict[str, Any]) -> Outcome:
    kind, field = _asked(case)
    document = Document(case["document"], kind, "", field)
    errors = case["body"].get("errors", ())
    if case["status"] != 200:
        return classify(document, HttpStatus(case["status"], errors=errors))
    return classify(document, Answer(case["body"].get("data"), errors))


def _errors(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Collect the errors of an answer, wherever they stand."""
    body = case["body"]
    told = list(body.get("errors", ()))
    for payload in (body.get("data") or {}).values():
        told += payload.get("errors", ()) if isinstance(payload, dict) else ()
    return told


def _fits(case: dict[str, Any], outcome: Outcome) -> bool:
    """Whether an outcome is what flash-server.md 5.2, 5.4 and 3.7 say of this answer."""
    kind, field = _asked(case)
    errors = _errors(case)
    words, codes = " ".join(error["message"] for error in errors), {error.get("code") for error in errors}
    payload = (case["body"].get("data") or {}).get(field or "") or {}
    if case["status"] != 200 or "NOT_AUTHORIZED" in codes:
        cause = Cause.INVALID if case["status"] == 400 else Cause.CREDENTIAL
        return isinstance(outcome, NotExecuted) and outcome.cause is cause
    if kind is Kind.SEND and (payload.get("status") == "PENDING" or any(each in words for each in _PERHAPS_PAID)):
        return isinstance(outcome, Unknown)
    if kind is Kind.SEND and payload.get("status") == "FAILURE" and not errors:
        return isinstance(outcome, Refused) and outcome.definite
    if not errors:
        return isinstance(outcome, Completed)
    if "Too many" in words or "rate limit" in words:
        return isinstance(outcome, Refused) and outcome.retry_after is not None
    temporary = kind is not Kind.SEND and ("IBEX_ERROR" in codes or "cutover is in progress" in words)
    return isinstance(outcome, Refused) and outcome.temporary is temporary


@pytest.mark.parametrize(
    "case",
    [each for each in CAPTURES["http"] if _asked(each)[1] or each["status"] != 200],
    ids=lambda each: each["name"],
)
def test_classified_as_the_rules_say(case: dict[str, Any]) -> None:
    """Done, refused for good or for now, not carried out, or money whose fate nobody told: never another of them."""
    outcome = _classified(case)
    assert _fits(case, outcome), outcome


@pytest.mark.parametrize("name", _READERS)
async def test_readers_take_what_flash_answers(start_lab: StartLab, name: str) -> None:
    """The answer that was recorded, with ids and numbers of a sandbox in it, is read without complaint."""
    (case,) = [each for each in CAPTURES["http"] if each["name"] == name]
    replay = await Replay.of(start_lab, case)
    _, _, body = await replay.ask(case)
    exact = json.loads(json.dumps(body["data"]), parse_float=Decimal)
    assert _READERS[name](exact, _asked(case)[1] or "") is not None
