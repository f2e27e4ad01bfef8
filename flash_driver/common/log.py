"""Logging as a library should: into the host's structlog if it has configured one, else into `logging`.

Nothing is configured here. A host that called `structlog.configure` gets events with key-value pairs; any other host
finds the same events, rendered, under the standard logger `flash_driver` (which stays silent below WARNING unless the
host asks for more).

The host's loggers are foreign code that is called in the middle of moving money. Whatever one of them does, raising
included, changes no result: the line goes to the standard logger instead, and if that fails too, nowhere.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Log", "LogOnce", "get_logger"]

Level = Literal["debug", "info", "warning", "error"]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_standard: Final = logging.getLogger("flash_driver")
_MOST_OF_A_KIND: Final = 50
_PERIOD_SECONDS: Final = 3600.0


class Log:
    """A logger with values bound to it; decides at each event where it goes."""

    __slots__ = ("_bound",)

    def __init__(self, **bound: object) -> None:
        self._bound = bound

    def bind(self, **values: object) -> Log:
        """Return a logger that adds these values to each event."""
        return Log(**{**self._bound, **values})

    def debug(self, event: str, **values: object) -> None:
        """Log a detail of use to developers of the driver."""
        self._log("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        """Log a step that an operator may want to follow."""
        self._log("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """Log something that an operator should look at."""
        self._log("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        """Log something that an operator has to mend."""
        self._log("error", event, values)

    def _log(self, level: Level, event: str, values: dict[str, object]) -> None:
        pairs: dict[str, Any] = {**self._bound, **values}
        # A host that has configured structlog has imported it; any other is spared the time that takes.
        structlog = sys.modules.get("structlog")
        with contextlib.suppress(Exception):
            if structlog is not None and structlog.is_configured():
                try:
                    _tell_structlog(structlog, level, event, pairs)
                except Exception as error:  # noqa: BLE001 - a processor of the host may raise anything
                    pairs["structlog_failed"] = type(error).__name__
                else:
                    return
            if _standard.isEnabledFor(_LEVELS[level]):
                rendered = " ".join(f"{key}={_readable(value)}" for key, value in pairs.items())
                # The third frame from here is the one that logs.
                _standard.log(_LEVELS[level], "%s", f"{event} {rendered}".rstrip(), stacklevel=3)


def _tell_structlog(structlog: Any, level: Level, event: str, pairs: dict[str, Any]) -> None:
    """Hand an event to the host's structlog, also to an asynchronous logger, by the synchronous one inside it."""
    logger = structlog.get_logger("flash_driver").bind()
    if hasattr(type(logger), "sync_bl"):
        logger = logger.sync_bl
    returned = getattr(logger, level)(event, **pairs)
    if inspect.iscoroutine(returned):
        returned.close()
        raise TypeError("the logger can only be awaited, and there is nothing here that could wait for it")


def get_logger(**bound: object) -> Log:
    """Return a logger that adds these values to each event."""
    return Log(**bound)


def _readable(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(" =\"'") else repr(text)


@dataclass(slots=True)
class _Kind:
    """What was told of one kind of event in the period that began at `since`."""

    since: float
    told: set[tuple[str, ...]] = field(default_factory=set)


class LogOnce:
    """Warns of each thing once an hour, and of each kind of event a limited number of times an hour.

    A server that sends something odd with each message can neither fill the log nor the memory.

    Args:
        log: Where to warn.
        most_of_a_kind: How many different things of one kind are told in an hour; then one line says that more follow.
        clock: A steady clock, in seconds.

    """

    def __init__(
        self, log: Log, most_of_a_kind: int = _MOST_OF_A_KIND, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._most = most_of_a_kind
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def __call__(self, event: str, **what: str) -> None:
        """Warn of an event, unless it was told with these very words, or too many of its kind were."""
        now = self._clock()
        kind = self._kinds.get(event)
        if kind is None or now - kind.since >= _PERIOD_SECONDS:
            kind = self._kinds[event] = _Kind(now)
        words = tuple(what.values())
        if words in kind.told or len(kind.told) > self._most:
            return
        kind.told.add(words)
        if len(kind.told) > self._most:
            self._log.warning("more of the same kind is not logged for an hour", kind=event)
        else:
            self._log.warning(event, **what)
