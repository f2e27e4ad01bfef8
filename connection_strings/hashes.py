"""The one check of what a payment hash looks like, for every house."""

from __future__ import annotations

import re

__all__ = ["read_hash"]

_HASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE | re.ASCII)


def read_hash(text: str) -> str | None:
    """Return a hash of 32 bytes in lower-case hex, as it is kept everywhere; None where the text is no such hash."""
    return text.lower() if _HASH.fullmatch(text) else None
