"""What a server can't do for a token, remembered for a limited time, so that the next request goes to what works."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.journal.learned import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Capabilities", "Inability"]

_REMEMBERED_SECONDS: Final = {
    Cause.DECLINED: 3600.0,  # changes with a release of the server
    Cause.CLOSED: 600.0,  # most likely the same, said by closing the socket
    Cause.CREDENTIAL: 300.0,  # a token that HTTP refuses today is refused in a minute, too; a session may be renewed
    Cause.SLOW: 30.0,  # a network that swallows packets
    Cause.UNREACHABLE: 1.0,  # long enough that the requests of one call do not all knock at the same closed door
}

_THROTTLED_SECONDS: Final = 1.0
_LONGEST_THROTTLED_SECONDS: Final = 60.0
"""How long a way is left alone after a gateway's HTTP 429 that says nothing else: a second, doubled each time."""

_DOUBTED_AFTER_SECONDS: Final = 30.0
"""How long a refusal to execute is believed without doubt; twice that when it was confirmed, and so on."""


@dataclass(frozen=True, slots=True)
class Inability:
    """Why a transport is passed over for now.

    Attributes:
        cause: What kind of trouble it is.
        reason: The same for a person.
        until: When it is forgotten, on the clock of the memory.
        doubted_from: From when on to ask again harmlessly, should nothing else work.
        believed: For how long it is believed without doubt, in seconds.

    """

    cause: Cause
    reason: str
    until: float
    doubted_from: float
    believed: float = _DOUBTED_AFTER_SECONDS

    @property
    def final(self) -> bool:
        """Whether it is no use to try all the same when nothing else works."""
        return self.cause in (Cause.DECLINED, Cause.CLOSED)

    @property
    def hopeless(self) -> bool:
        """Whether to try all the same would only make it worse."""
        return self.final or self.cause is Cause.THROTTLED


class Capabilities:
    """The memory of one endpoint and token; knows nothing of transports but their names.

    Attributes:
        found: What each transport was last seen to do in this process.
        slow_handshake: Whether the socket's handshake took long in this process; None where that was not seen.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.found: dict[str, Standing] = {}
        self.slow_handshake: bool | None = None
        self._was_slow = False
        self._recalled: dict[str, Standing] | None = None
        self._unable: dict[str, Inability] = {}
        self._throttled: Counter[str] = Counter()

    def recall(self, standings: Mapping[str, Standing], *, slow_handshake: bool = False) -> None:
        """Take in, once, what an earlier process found out; what this one finds out goes before it.

        A way that declined then is passed over without being asked, and asked again where nothing else works.
        """
        if self._recalled is not None:
            return
        self._recalled, now = dict(standings), self._clock()
        self._was_slow = slow_handshake
        for name, standing in standings.items():
            if standing is Standing.DECLINES and name not in self.found:
                reason = "it declined when it was last asked"
                until = now + _REMEMBERED_SECONDS[Cause.DECLINED]
                self._unable[name] = Inability(Cause.DECLINED, reason, until, doubted_from=now)

    def presumed(self, transport: str) -> Standing | None:
        """Return what this transport is presumed to do: as seen in this process, else in an earlier one."""
        return self.found.get(transport) or (self._recalled or {}).get(transport)

    @property
    def is_far(self) -> bool:
        """Whether the handshake took long, here or in an earlier process that left anything behind."""
        seen = self.slow_handshake
        return bool(self._recalled) and (self._was_slow if seen is None else seen)

    def learn(self, transport: str, outcome: Outcome, *, anonymous: bool = False) -> None:
        """Take in what became of a request on this transport.

        Args:
            transport: Its name.
            outcome: What became of the request.
            anonymous: Whether it shows no credential: then what was not executed may not be its fault.

        """
        match outcome:
            case NotExecuted(cause=cause) if anonymous and cause is not Cause.THROTTLED:
                pass
            case Completed() | Refused() | Unknown(answered=True):
                self._unable.pop(transport, None)
                self._throttled.pop(transport, None)
                self.found[transport] = Standing.WORKS
            case NotExecuted(reason, Cause.THROTTLED, retry_after):
                self._throttle(transport, reason, retry_after)
            case NotExecuted(cause=Cause.CLOSED | Cause.DECLINED) if self.found.get(transport) is Standing.WORKS:
                # A server that executed before had an accident, until it does the same to the next proof.
                self._doubt(transport)
            case NotExecuted(reason, cause) if cause in _REMEMBERED_SECONDS:
                self._remember(transport, cause, reason)
            case Unknown(reason, silent=True):
                self._remember(transport, Cause.SLOW, reason)
            case Unknown(answered=False, slow=False):
                self._doubt(transport)
            case _:
                pass

    def passed_over(self) -> Mapping[str, Inability]:
        """Return each transport that is not worth trying now, and why."""
        if self._unable:
            now = self._clock()
            self._unable = {name: each for name, each in self._unable.items() if each.until > now}
        return self._unable

    def unable(self, transport: str) -> Inability | None:
        """Return why to pass this transport over, or None when it is worth trying."""
        return self.passed_over().get(transport)

    def executes(self, transport: str) -> bool | None:
        """Whether this transport is known to carry operations out; None when that was never found out."""
        if self.found.get(transport) is Standing.WORKS:
            return True
        inability = self.unable(transport)
        return False if inability is not None and inability.final else None

    def doubtful(self, transport: str) -> bool:
        """Whether this transport is passed over for good on an answer that may be an accident, or outdated."""
        inability = self.unable(transport)
        return inability is not None and inability.final and inability.doubted_from <= self._clock()

    def free_in(self) -> timedelta | None:
        """Return how soon a way that is throttled may be tried again; None where none is."""
        now = self._clock()
        waits = [each.until - now for each in self.passed_over().values() if each.cause is Cause.THROTTLED]
        return timedelta(seconds=min(waits)) if waits else None

    def summary(self) -> dict[str, str]:
        """Return what is known, for health reports: transport -> `works`, or why it is passed over."""
        known = {name: "works" for name in sorted(self.found) if self.found[name] is Standing.WORKS}
        known.update({name: unable.reason for name, unable in self.passed_over().items()})
        return known

    def _doubt(self, transport: str) -> None:
        """Forget what this transport can do, also what an earlier process found out."""
        self.found.pop(transport, None)
        (self._recalled or {}).pop(transport, None)

    def _throttle(self, transport: str, reason: str, retry_after: timedelta | None) -> None:
        """Leave a way alone for as long as its gateway says, or a second, doubled each time that it says nothing."""
        times, now = self._throttled[transport], self._clock()
        self._throttled[transport] += 1
        asked = _THROTTLED_SECONDS * 2.0 ** min(times, 16) if retry_after is None else retry_after.total_seconds()
        until = now + min(asked, _LONGEST_THROTTLED_SECONDS)
        self._unable[transport] = Inability(Cause.THROTTLED, reason, until, until)

    def _remember(self, transport: str, cause: Cause, reason: str) -> None:
        now, before = self._clock(), self.unable(transport)
        fresh = Inability(cause, reason, now + _REMEMBERED_SECONDS[cause], now + _DOUBTED_AFTER_SECONDS)
        if before is not None and before.final and not fresh.final:
            # What kept the server from being asked again says nothing about what it would answer.
            fresh = replace(before, doubted_from=now + _REMEMBERED_SECONDS[cause])
        elif before is not None and before.final and before.doubted_from <= now:
            believed = 2 * before.believed
            fresh = replace(fresh, doubted_from=now + believed, believed=believed)
        self._unable[transport] = fresh
        self.found[transport] = Standing.DECLINES if fresh.final else Standing.FAILS
