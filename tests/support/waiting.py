"""Waiting until something is so, with a limit, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["HELD", "undisturbed", "until"]

T = TypeVar("T")

HELD: Final = 60.0
"""For how long a sandbox keeps an answer back, unless `clear_faults` lets it go: no pause of the machine is as long."""

_BEAT_SECONDS: Final = 0.02
_HELD_UP_SECONDS: Final = 0.3


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


async def undisturbed(attempt: Callable[[], Awaitable[T]], tries: int = 8) -> T:
    """Do something until this process wasn't held up meanwhile; return what came of it the last time.

    For what is promised within seconds and can't be kept by a machine that does nothing for longer.
    """
    while True:
        gaps = [0.0]
        beating = asyncio.create_task(_beat(gaps))
        try:
            result = await attempt()
            await asyncio.sleep(2 * _BEAT_SECONDS)
        finally:
            beating.cancel()
        tries -= 1
        if max(gaps) < _HELD_UP_SECONDS or tries == 0:
            return result


async def _beat(gaps: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(_BEAT_SECONDS)
        gaps.append(loop.time() - before)
