"""How many cases a test of random cases tries: a few in the suite, always the same; many with `make thorough`."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["THOROUGH", "cases"]

THOROUGH: Final = bool(os.environ.get("TESTS_THOROUGH"))
"""Whether many cases are wanted, other ones each time."""


def cases(usual: int, thorough: int) -> int:
    """Return the number of cases to try: the suite's share, or all that are worth the time."""
    return thorough if THOROUGH else usual
