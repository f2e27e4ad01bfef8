"""The wall clock, for what is compared with other machines; pauses and ages are measured on the event loop's."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["utc_now"]

utc_now: Final[Callable[[], datetime]] = partial(datetime.now, UTC)
"""Returns the time by this machine's wall clock."""
