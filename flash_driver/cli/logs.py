"""The driver's log while a command runs: on standard error where it is asked for, and otherwise nowhere."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

    from flash_driver.cli.output import Output

    Hearer: TypeAlias = Callable[[str, str, Mapping[str, Any]], None]
    """Told level, event and values of each log event."""

__all__ = ["log_to"]


@contextmanager
def log_to(output: Output, *hearers: Hearer) -> Iterator[None]:
    """Hand each log event of the driver to these, and to the output if it is verbose, while the block runs."""
    told = [*hearers, output.log_line] if output.verbose else [*hearers]
    standard, handler = logging.getLogger("flash_driver"), _Bridge(told)
    standard.addHandler(handler)
    try:
        if told:
            with _structured(told):
                yield
        else:
            yield
    finally:
        standard.removeHandler(handler)


@contextmanager
def _structured(told: Sequence[Hearer]) -> Iterator[None]:
    """Have events come with their values; where nobody is told of them, the library for that is not loaded."""
    import structlog  # noqa: PLC0415 - loads rich and more, and most commands log nothing

    def pass_on(_logger: object, level: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        values = {key: value for key, value in event.items() if key != "event"}
        for hear in told:
            hear(level, str(event.get("event")), values)
        raise structlog.DropEvent

    before, was_configured = structlog.get_config(), structlog.is_configured()
    structlog.configure(processors=[pass_on], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.reset_defaults()
        if was_configured:
            structlog.configure(**before)


class _Bridge(logging.Handler):
    """Takes what libraries below the driver log under its name."""

    def __init__(self, told: Sequence[Hearer]) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        for hear in self._told:
            hear(record.levelname.lower(), record.getMessage(), {})
