"""What watching needs of its account; documented here for all parts of the watcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flash_driver.common.clocks import utc_now
from flash_driver.common.log import LogOnce, get_logger
from flash_driver.settlements.timing import Spacing, TokenLooks, WatchTiming

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta

    from flash_driver.flash_api.replies import PriceTick
    from flash_driver.invoices.lookup import InvoiceLookup
    from flash_driver.journal.journal import Journal
    from flash_driver.transports.router import Router
    from flash_driver.transports.websocket.transport import SocketTransport

__all__ = ["WatchedAccount"]

_log: Final = get_logger(part="watcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedAccount:
    """An account as its watcher sees it.

    Attributes:
        socket: The transport for the subscription; None where the token opens none, then invoices are polled.
        router: For questions about the token.
        lookup: Asks how an invoice stands, and settles it.
        journal: Where the invoices are.
        identify: Has the server say whose account this is, unless it did so at most this long ago.
        on_tick: Told each price that passes on the subscription.
        spacing: The time between two questions, to keep the server's limits.
        token_looks: How often the token is looked up, together with the other accounts of the process.
        pays_for_looks: Whether each look is one request of an API key's limit.
        trust_events: Whether an event settles an invoice, instead of the query that it prompts.
        timing: Every wait and pace.
        clock: The wall clock; compared with times of a BOLT11 only, pauses are measured on the event loop's clock.
        tell_once: Logs what may come again and again.

    """

    socket: SocketTransport | None
    router: Router
    lookup: InvoiceLookup
    journal: Journal
    identify: Callable[[timedelta], Awaitable[None]]
    on_tick: Callable[[PriceTick], None]
    spacing: Spacing
    token_looks: TokenLooks
    pays_for_looks: bool
    trust_events: bool = False
    timing: WatchTiming = field(default_factory=WatchTiming)
    clock: Callable[[], datetime] = utc_now
    tell_once: LogOnce = field(default_factory=lambda: LogOnce(_log))
