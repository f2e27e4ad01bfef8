"""Waiting for facts, not for seconds: what a judge does who must not take a slow machine for a lost payment.

Time is counted in beats of the event loop. In a process that gets no processor time a beat takes longer, and so does
the patience of the one that counts them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["lag", "while_it_moves"]

_BEAT: Final = 0.1
_STILL_BEATS: Final = 1200
"""After this many beats in a row without a sign of life nothing will come: two minutes, longer on a busy machine."""
_LONGEST: Final = 1800.0
"""The most seconds to wait in all, whatever still moves."""


async def while_it_moves(
    work: Coroutine[Any, Any, None],
    signs: Callable[[], object],
    still_beats: int = _STILL_BEATS,
    longest: float = _LONGEST,
) -> bool:
    """Let work go on until it is done, or until nothing has moved for long.

    Args:
        work: What to wait for; it is cancelled when there is no hope left.
        signs: What changes as long as something moves.
        still_beats: After how many beats without change to give up.
        longest: After how many seconds to give up in any case.

    Returns:
        Whether it was done.

    """
    loop = asyncio.get_running_loop()
    task, ends = asyncio.create_task(work), loop.time() + longest
    seen, still = signs(), 0
    try:
        while not task.done() and still < still_beats and loop.time() < ends:
            await asyncio.wait({task}, timeout=_BEAT)
            before, seen = seen, signs()
            still = still + 1 if seen == before else 0
        return task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()


async def lag() -> float:
    """Measure by how many seconds the event loop is late now."""
    loop = asyncio.get_running_loop()
    due = loop.time() + _BEAT
    await asyncio.sleep(_BEAT)
    return max(0.0, loop.time() - due)
