"""ConnectionTiming until something is so, with a limit, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["until"]


async def until(is_so: Callable[[], bool | Awaitable[bool]], seconds: float = 40.0) -> None:
    """Wait until it is so.

    Raises:
        TimeoutError: It did not become so in time.

    """
    async with asyncio.timeout(seconds):
        while True:
            found = is_so()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.01)
