"""How the process logs: lines for people or JSON for machines, each with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
import secrets
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

__all__ = ["Trouble", "begin_request", "set_up_logs"]

_request: Final[ContextVar[str]] = ContextVar("request", default="")
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Trouble:
    """Something that is tried again and again: its failure is logged once, until it works or fails for another reason.

    The end is a warning, too: a log that shows the begin shows it.

    Args:
        log: Where to tell it, as a warning.
        end: What to say once it works again.

    """

    def __init__(self, log: logging.Logger, *, end: str) -> None:
        self._log = log
        self._end = end
        self._told: str | None = None

    def tell(self, words: str) -> None:
        """Say what is wrong, unless that was said last."""
        if words != self._told:
            self._told = words
            self._log.warning("%s", words)

    def over(self) -> None:
        """Take note that all is well, and say so if something was wrong."""
        if self._told is not None:
            self._told = None
            self._log.warning("%s", self._end)


def begin_request() -> str:
    """Give the lines that follow in this task, and in tasks that it starts, an id of their own; returns it."""
    request = secrets.token_hex(6)
    _request.set(request)
    return request


def set_up_logs(level: int, *, as_json: bool) -> None:
    """Log to standard error from this level on; called again, it changes how, and other handlers are left alone."""
    root = logging.getLogger()
    for earlier in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(earlier)
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else _Lines(_FORMAT))
    root.addHandler(handler)
    root.setLevel(level)
    # aiohttp logs a stack trace for each request that is not HTTP: anybody who can connect could fill the disk.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # it takes no argument at run time before 3.12
    """The handler of this module."""


class _Lines(logging.Formatter):
    """Lines for people; the request stands at the end."""

    def format(self, record: logging.LogRecord) -> str:
        line, request = super().format(record), _request.get()
        return f"{line} [request {request}]" if request else line


class _JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and request and exception where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := _request.get():
            line["request"] = request
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
