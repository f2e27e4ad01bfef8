"""Memos, cut to what Flash's custodian takes."""

from __future__ import annotations

import json
import unicodedata
from typing import Final

__all__ = ["LONGEST_MEMO", "cut_memo", "readable_text"]

LONGEST_MEMO: Final = 50
"""Characters; a longer memo is answered with IBEX_ERROR (flash-server.md 4).

Fifty of them are never more than 200 bytes of UTF-8, well below the 639 that Flash itself takes.
"""

_ELLIPSIS: Final = "\u2026"
_ZERO_WIDTH_JOINER: Final = "\u200d"
_ZERO_WIDTH_NON_JOINER: Final = "\u200c"


def cut_memo(memo: str, longest: int = LONGEST_MEMO) -> str:
    """Cut a memo that is too long behind a word, and end it with an ellipsis, which counts as one of the characters.

    Where a word is longer than half of the room it is cut where no character that a reader sees as one is torn apart
    (emoji, combining marks, flags). Follows the rules for grapheme clusters of Unicode's annex 29, but for conjuncts of
    Indic scripts.
    """
    if len(memo) <= longest:
        return memo
    end = longest - len(_ELLIPSIS)
    while end > 0 and _joined(memo, end):
        end -= 1
    behind_a_word = next((at for at in range(end, end // 2, -1) if memo[at].isspace()), end)
    return memo[:behind_a_word].rstrip() + _ELLIPSIS


def readable_text(description: str) -> str:
    """Return what a person reads of a description: the `text/plain` entry where it is LNURL-pay metadata (LUD-06)."""
    if not description.startswith("["):
        return description
    try:
        entries = json.loads(description)
    except (ValueError, RecursionError):
        return description
    texts = [entry[1] for entry in entries if isinstance(entry, list) and len(entry) == 2 and entry[0] == "text/plain"]
    return texts[0] if texts and isinstance(texts[0], str) else description


def _joined(memo: str, at: int) -> bool:
    """Whether the characters on both sides of this place belong together."""
    before, after = memo[at - 1], memo[at]
    if _ZERO_WIDTH_JOINER in (before, after):
        return True
    if unicodedata.category(after) in ("Mn", "Me", "Mc") or _continues(after):
        return True
    if (before, after) == ("\r", "\n"):
        return True
    return _is_flag_half(before) and _is_flag_half(after) and _flag_halves_before(memo, at) % 2 == 1


def _flag_halves_before(memo: str, at: int) -> int:
    start = at
    while start > 0 and _is_flag_half(memo[start - 1]):
        start -= 1
    return at - start


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _continues(char: str) -> bool:
    """Whether a character is only ever a part of the one before it, though Unicode files it among others."""
    return (
        "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # the letters in the flags of England, Scotland and Wales
        or "\u1160" <= char <= "\u11ff"  # vowels and finals of Korean syllables written in parts
        or char in (_ZERO_WIDTH_NON_JOINER, "\u0e33", "\u0eb3")  # the last two: Thai and Lao vowels
    )
