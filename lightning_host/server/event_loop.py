"""Which event loop the host runs on: uvloop where it is installed, else the one of asyncio."""

from __future__ import annotations

import asyncio
import logging

__all__ = ["new_event_loop"]

_log = logging.getLogger("lightning_host")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop, and say in the log which it is."""
    try:
        import uvloop  # noqa: PLC0415 - the extra `uvloop`
    except ImportError:
        loop, name = asyncio.new_event_loop(), "asyncio"
    else:
        loop, name = uvloop.new_event_loop(), "uvloop"
    _log.info("the event loop is that of %s", name)
    return loop
