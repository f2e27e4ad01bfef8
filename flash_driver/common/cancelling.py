"""Tells a caller who is cancelled from one who waits for something that was."""

from __future__ import annotations

import asyncio

__all__ = ["being_cancelled"]


def being_cancelled() -> bool:
    """Whether somebody wants the running task to end; else a `CancelledError` is about what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
