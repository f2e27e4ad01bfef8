"""Payments as a CSV file, for a spreadsheet: it must read what payers wrote as text, and never as a formula."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from connection_strings import LightMoney
    from lightning_host.merchant.payments import Payment

__all__ = ["HEAD", "csv_lines", "csv_row"]

HEAD: Final = (
    *("time", "kind", "reference", "description", "comment", "asked_sat", "received_sat", "fiat_when_opened"),
    *("remarks", "checkout", "payment_hash", "number"),
)
_FORMULA: Final = re.compile(
    r"""^(?=[ \u00a0"]*[\t\r\n]) | (^|[;\t\r\n])(?=[ \u00a0"]*[=+@\uff1d\uff0b\uff0d\uff20-])""", re.VERBOSE
)
"""Where a spreadsheet may take what follows for a formula (OWASP, CSV injection), also in full width.

That is not only where a cell begins: in countries where cells are parted by semicolons, a spreadsheet opens this file
as if each line were, and heeds no quotes behind the first.
"""


def csv_row(payment: Payment, zone: tzinfo) -> list[str]:
    """Return the cells of a payment: times with their offset, amounts in satoshi with three decimals."""
    marks = (
        ("paid twice, to give back", payment.to_give_back),
        ("paid twice, on the card", payment.double and not payment.to_give_back),
        ("late", payment.late),
        ("less than asked", payment.short),
    )
    cells = (
        payment.paid_at.astimezone(zone).isoformat(timespec="seconds"),
        payment.kind,
        payment.reference or "",
        payment.description,
        payment.comment,
        "" if payment.asked is None else _sat(payment.asked),
        _sat(payment.received),
        payment.fiat or "",
        "; ".join(words for words, is_so in marks if is_so),
        payment.checkout or "",
        payment.payment_hash,
        str(payment.number),
    )
    return [_harmless(cell) for cell in cells]


def csv_lines(rows: Iterable[Iterable[str]]) -> bytes:
    """Write rows (RFC 4180), every cell in quotes."""
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(rows)
    return written.getvalue().encode()


def _harmless(cell: str) -> str:
    """Put an apostrophe before what might be a formula: a spreadsheet shows it as the text that it is."""
    return _FORMULA.sub(r"\1'", cell)


def _sat(amount: LightMoney) -> str:
    return f"{amount.sat:.3f}"
