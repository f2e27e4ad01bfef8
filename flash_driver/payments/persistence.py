"""How persistently the server is asked how a payment ended."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Persistence"]


@dataclass(frozen=True, slots=True)
class Persistence:
    """How persistently it is asked how a payment ended, in seconds.

    Attributes:
        pauses: Before each repetition while the host waits.
        sender_lives: For how long another process may still be at an attempt that the journal calls pending.
        look: Between two looks into the journal meanwhile.
        later: When to ask after the expiry of the BOLT11; the first leaves room for clocks that differ.
        forgotten: After how long the server is not asked any more: it keeps what it knows for 24 hours.

    """

    pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    sender_lives: float = 40.0
    look: float = 0.5
    later: tuple[float, ...] = (60.0, 600.0, 3600.0)
    forgotten: float = 20 * 3600.0
