"""Everything that reads what the server says, in one table, for tests that hand it what no server should say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from connection_strings import LightningError
from flash_driver.flash_api import error_words, events, replies
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import Document
from flash_driver.flash_api.outcomes import Answer, ErrorFrame, Evidence, HttpStatus, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READERS", "classify_everywhere", "read_everywhere"]

HASH: Final = "ab" * 32
READERS: Final[dict[str, Callable[[Any], object]]] = {
    "read_account": replies.read_account,
    "read_balances": replies.read_balances,
    "read_created": lambda data: [replies.read_created(data, field) for field in data],
    "read_fee_probe": lambda data: [replies.read_fee_probe(data, field) for field in data],
    "read_invoice_status": replies.read_invoice_status,
    "read_own_wallet_ids": replies.read_own_wallet_ids,
    "read_price": replies.read_price,
    "read_price_time": replies.read_price_time,
    "read_receipt_hash": replies.read_receipt_hash,
    "read_receive_ids": replies.read_receive_ids,
    "read_receive_times": replies.read_receive_times,
    "read_received": lambda data: replies.read_received(data, HASH, {"w1"}),
    "read_tick": replies.read_tick,
    "read_event": events.read_event,
    "status_word": replies.status_word,
}
"""Each function that is handed an answer's `data`."""


def read_everywhere(data: Any) -> list[object]:
    """Hand an answer to everything that reads answers; returns what is told of it."""
    told: list[object] = []
    for read in READERS.values():
        try:
            told.append(read(data))
        except LightningError as error:
            told.append(str(error))
    return told


def classify_everywhere(data: Any) -> list[object]:
    """Take an answer for data and for errors, on every way in which it may come; returns what is told of it."""
    rows = data if isinstance(data, list) else [data]
    errors = [row for row in rows if isinstance(row, dict)]
    told: list[object] = [error_words.describe(errors)[0], str(error_words.describe(errors)[1])]
    evidence: list[Evidence] = [Answer(data if isinstance(data, dict) else None, errors), ErrorFrame(errors)]
    evidence += [Answer(None, errors), HttpStatus(500, None, errors), HttpStatus(429, None, errors)]
    for field in (None, *(list(data)[:1] if isinstance(data, dict) else ())):
        documents = [Document("Asked", kind, "", field) for kind in (Kind.ASK, Kind.SEND)]
        told += [classify(document, each) for document in documents for each in evidence]
    return told
