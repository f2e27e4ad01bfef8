"""Faults that are armed from outside and strike when their moment comes.

`KINDS` says which faults exist and what each takes; docs/sandbox.md describes them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from flash_driver.sandbox.bank.traffic import Transport

__all__ = ["KINDS", "BadFaultError", "Fault", "Faults", "Moment", "OpenSocket", "parse_fault"]

Moment: TypeAlias = Literal["now", "before_execute", "after_execute"]


class OpenSocket(Protocol):
    """A WebSocket that is being served."""

    async def close(self, code: int, reason: str) -> None:
        """Close it and wait for the peer's answer."""
        ...

    async def strike(self, fault: Fault) -> bool:
        """Let a fault strike it, and tell whether that ended the operation that it struck."""
        ...


class BadFaultError(ValueError):
    """A fault that doesn't exist, or that doesn't take what it was given."""


@dataclass(slots=True)
class Fault:
    """An armed fault.

    Attributes:
        kind: What goes wrong.
        count: How often it strikes.
        when: At once, or before or after the execution of the operation it strikes.
        operation: The root field it waits for; None for any mutation, `*` for any operation.
        transport: Where it strikes; None for both.
        details: What its kind takes.
        cleared: Set once all that was armed by then is disarmed.

    """

    kind: str
    count: int = 1
    when: Moment = "before_execute"
    operation: str | None = None
    transport: Transport | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    cleared: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)

    @property
    def inside(self) -> bool:
        """Whether it strikes the operation, not the connection: it takes its course even if the client hangs up."""
        return self.kind in {"delay", "error"} and self.when == "before_execute"

    async def wait(self) -> None:
        """Wait for its `seconds`, at most until everything is disarmed: not at all if that was after it has struck."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.details["seconds"]):
                await self.cleared.wait()

    def meets(self, fields: Iterable[str], *, mutation: bool, transport: Transport | None) -> bool:
        """Whether an operation is what this fault waits for."""
        if transport is not None and self.transport not in {None, transport}:
            return False
        if self.operation is None:
            return mutation
        return self.operation == "*" or self.operation in fields


Check = Callable[[Any], bool]


def _integer(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _one_of(*choices: str) -> Check:
    return lambda value: value in choices


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


def _seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 3600


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a kind of fault takes, and where it may strike."""

    details: Mapping[str, tuple[Check, Any]] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()
    transports: tuple[Transport, ...] = ()


_BEFORE_OR_AFTER: Final[tuple[Moment, ...]] = ("before_execute", "after_execute")
_BROKEN_REPLY: Final[tuple[Moment, ...]] = ("after_execute", "before_execute", "now")
_BOTH: Final[tuple[Transport, ...]] = ("websocket", "http")
_REQUIRED: Final = object()
_SAFE: Final = 2**53 - 1

KINDS: Final[dict[str, _Kind]] = {
    "close": _Kind({"code": (_integer(1000, 4999), 1011)}, ("before_execute", "after_execute", "now"), _BOTH),
    "reset": _Kind({}, ("before_execute", "after_execute", "now"), _BOTH),
    "silent": _Kind({}, ("before_execute", "after_execute", "now"), _BOTH),
    "delay": _Kind({"seconds": (_seconds, _REQUIRED)}, _BEFORE_OR_AFTER, _BOTH),
    "garbage": _Kind({}, _BROKEN_REPLY, _BOTH),
    "truncate": _Kind({}, ("after_execute", "before_execute"), _BOTH),
    "http_status": _Kind(
        {"status": (_integer(400, 599), _REQUIRED), "retry_after": (_integer(0, 86400), None)},
        _BEFORE_OR_AFTER,
        ("http",),
    ),
    "decline": _Kind({}, ("before_execute",), ("websocket",)),
    "error": _Kind(
        {
            "code": (_text, None),
            "message": (_text, "The sandbox was told to refuse this"),
            "channel": (_one_of("payload", "top"), "payload"),
        },
        ("before_execute",),
        _BOTH,
    ),
    "refuse_handshake": _Kind({"status": (_integer(400, 599), 503)}),
    "no_ack": _Kind(),
    "drop_settlement": _Kind(),
    "drop_first_event": _Kind(),
    "wrong_invoice": _Kind(
        {"what": (_one_of("network", "amount", "payment_hash", "description_hash"), _REQUIRED)},
    ),
    "wrong_price": _Kind({"base": (_integer(-_SAFE, _SAFE), _REQUIRED)}),
    "payment": _Kind(
        {
            "outcome": (_one_of("SUCCESS", "FAILURE", "PENDING", "ERROR", "INSUFFICIENT_BALANCE"), _REQUIRED),
            "executed": (_boolean, False),
            "seconds": (_seconds, 0),
        },
    ),
}
"""The faults there are. The first of a kind's moments is its default."""


def parse_fault(body: Mapping[str, Any]) -> Fault:
    """Read a fault as the control endpoint receives it; say in one sentence what is wrong with a bad one."""
    kind_name = body.get("kind")
    kind = KINDS.get(kind_name) if isinstance(kind_name, str) else None
    if kind is None or not isinstance(kind_name, str):
        raise BadFaultError(f"unknown fault kind {kind_name!r}; there are clear, {', '.join(KINDS)}")
    takes: dict[str, tuple[Check, Any]] = {"count": (_integer(1, 1_000_000), 1), **kind.details}
    if kind.moments:
        takes["when"] = (_one_of(*kind.moments), kind.moments[0])
        takes["operation"] = (_text, None)
    if kind.transports:
        takes["transport"] = (_one_of(*kind.transports), kind.transports[0] if len(kind.transports) == 1 else None)
    unknown = sorted(body.keys() - takes.keys() - {"kind"})
    if unknown:
        raise BadFaultError(f"a fault of kind {kind_name} takes no {unknown[0]!r}; it takes {', '.join(takes)}")
    values = {name: _value(kind_name, name, body, check, default) for name, (check, default) in takes.items()}
    general = {name: values.pop(name) for name in ("count", "when", "operation", "transport") if name in values}
    return Fault(kind=kind_name, **general, details=values)


def _value(kind: str, name: str, body: Mapping[str, Any], check: Check, default: object) -> Any:
    if name not in body:
        if default is _REQUIRED:
            raise BadFaultError(f"a fault of kind {kind} needs {name!r}")
        return default
    if not check(body[name]):
        raise BadFaultError(f"a fault of kind {kind} can't take {body[name]!r} as {name!r}")
    return body[name]


class Faults:
    """The faults that are armed and have not struck yet, oldest first."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._cleared = asyncio.Event()

    def arm(self, fault: Fault) -> None:
        """Let a fault wait for its moment."""
        fault.cleared = self._cleared
        self._armed.append(fault)

    def clear(self) -> None:
        """Disarm everything, and end the waits that go on."""
        self._armed.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    @property
    def armed(self) -> int:
        """How many strikes are still to come."""
        return sum(fault.count for fault in self._armed)

    def take(self, kind: str) -> Fault | None:
        """Let the oldest fault of a kind strike."""
        return self._strike(lambda fault: fault.kind == kind)

    def take_for(
        self,
        fields: Iterable[str],
        *,
        mutation: bool,
        transport: Transport,
        when: Moment,
    ) -> Fault | None:
        """Let the oldest fault strike that waits for this moment of this operation."""
        return self._strike(
            lambda fault: (
                bool(KINDS[fault.kind].moments)
                and fault.when == when
                and fault.meets(fields, mutation=mutation, transport=transport)
            )
        )

    def _strike(self, meets: Callable[[Fault], bool]) -> Fault | None:
        fault = next(filter(meets, self._armed), None)
        if fault is not None:
            fault.count -= 1
            if fault.count == 0:
                self._armed.remove(fault)
        return fault
