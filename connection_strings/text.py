"""Text as people write it: what counts as a blank, and which name they may have meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BLANKS", "did_you_mean"]

BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""What Unicode calls a blank, as BTCPay Server reads connection strings and amounts.

Without the separators U+001C to U+001F, which Python strips and .NET does not.
"""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the known name nearest to `word`, or nothing when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a misspelling pays for this import

    nearest = get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
