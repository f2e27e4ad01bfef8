"""Did you mean ...? One hint for every misspelt name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the known name nearest to `word`, or nothing when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a misspelling pays for this import

    nearest = get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
