"""The log lines of one public call: which transport is attempted, what is done on it, and why it falls back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flash_driver.common.log import get_logger

if TYPE_CHECKING:
    from flash_driver.common.log import Log

__all__ = ["SILENT", "CallLog", "shown"]

_NAMES: Final = {"websocket": "WebSocket", "http": "HTTP", "graphql": "GraphQL client", "public": "public API"}


def shown(transport: str) -> str:
    """Return a transport's name as a person reads it."""
    return _NAMES.get(transport, transport)


class CallLog:
    """Logs the steps of one call at INFO.

    Args:
        log: Where to, with what is already known of the call bound to it.
        doing: The step as the log names it, such as `creating invoice`.
        done: The same when it worked, such as `invoice created`.

    """

    def __init__(self, log: Log, doing: str, done: str) -> None:
        self.doing = doing
        self._done = done
        self._log = log
        self._attempted: set[str] = set()
        self._fallbacks: set[tuple[str, str, str]] = set()

    def attempting(self, transport: str) -> None:
        """A transport is tried; told once per call."""
        if transport not in self._attempted:
            self._attempted.add(transport)
            self._log.info(f"attempting {shown(transport)}", transport=transport)

    def sending(self, transport: str) -> None:
        """The step itself goes out on this transport."""
        self._log.info(f"{self.doing} via {shown(transport)}", transport=transport)

    def skipping(self, transport: str, why: str) -> None:
        """A transport is passed over because of what is remembered of it."""
        self._log.debug(f"passing over {shown(transport)}", transport=transport, why=why)

    def falling_back(self, from_transport: str, to_transport: str, why: str) -> None:
        """A transport did not do; the next one is tried. Told once per call for the same reason."""
        told = (from_transport, to_transport, why)
        if told in self._fallbacks:
            return
        self._fallbacks.add(told)
        self._log.info(
            f"fell back to {shown(to_transport)} because {shown(from_transport)} failed",
            transport=to_transport,
            failed=from_transport,
            why=why,
        )

    def done(self, transport: str, **facts: object) -> None:
        """The step worked on this transport."""
        self._log.info(f"{self._done} via {shown(transport)}", transport=transport, **facts)


class _Silent(CallLog):
    """Logs nothing: for questions in the background."""

    def attempting(self, transport: str) -> None: ...

    def sending(self, transport: str) -> None: ...

    def skipping(self, transport: str, why: str) -> None: ...

    def falling_back(self, from_transport: str, to_transport: str, why: str) -> None: ...

    def done(self, transport: str, **facts: object) -> None: ...


SILENT: Final = _Silent(get_logger(), "", "")
"""The call log of a call that nobody follows."""
