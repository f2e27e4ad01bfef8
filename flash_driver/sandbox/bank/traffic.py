"""Counts what reaches the server and what of it is carried out, by field and transport."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Traffic", "Transport"]

Transport: TypeAlias = Literal["websocket", "http"]


class Traffic:
    """The counters of one sandbox.

    Attributes:
        reached: Operations that arrived, by root field and transport, whatever became of them.
        executed: Those whose field was resolved.
        connections: What happened to sockets, and how many requests HTTP saw.

    """

    def __init__(self) -> None:
        self.reached: Counter[tuple[str, Transport]] = Counter()
        self.executed: Counter[tuple[str, Transport]] = Counter()
        self.connections: Counter[str] = Counter()

    def arrived(self, fields: Iterable[str], transport: Transport) -> None:
        """Count an operation that reached the server."""
        self.reached.update((field, transport) for field in fields)

    def carried_out(self, fields: Iterable[str], transport: Transport) -> None:
        """Count an operation that was executed."""
        self.executed.update((field, transport) for field in fields)

    def forget(self) -> None:
        """Start at zero again; sockets that are open stay counted."""
        open_now = self.connections["open"]
        for counter in (self.reached, self.executed, self.connections):
            counter.clear()
        self.connections["open"] = open_now

    def snapshot(self) -> dict[str, Any]:
        """Tell what was counted."""
        names = ("open", "opened", "acknowledged", "refused_handshakes", "http_requests", "http_unauthorized")
        return {
            "operations": _by_field(self.reached),
            "executed": _by_field(self.executed),
            "connections": {name: self.connections[name] for name in names},
        }


def _by_field(counts: Counter[tuple[str, Transport]]) -> dict[str, dict[str, int]]:
    fields: dict[str, dict[str, int]] = {}
    for (field, transport), count in counts.items():
        fields.setdefault(field, {"websocket": 0, "http": 0})[transport] = count
    return fields
