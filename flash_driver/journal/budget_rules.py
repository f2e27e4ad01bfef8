"""The budget of invoices: how many the server takes from an account in how many seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["InvoiceBudget"]


@dataclass(frozen=True, slots=True)
class InvoiceBudget:
    """How many invoices the server takes from an account in how many seconds."""

    invoices: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> InvoiceBudget | None:
        """Read `20/120`, or `off` for no budget.

        Raises:
            ValueError: It is neither.

        """
        if text is None or isinstance(text, InvoiceBudget):
            return text
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", str(text).strip())
        if str(text).strip().lower() == "off":
            return None
        if match is None:
            raise ValueError("must be invoices per seconds, such as 20/120, or off")
        return cls(int(match[1]), int(match[2]))
