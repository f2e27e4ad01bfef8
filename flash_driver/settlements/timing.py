"""How long watching an account waits for what, and how often it asks; every time is in seconds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Backoff", "Pace", "Spacing", "TokenLooks", "WatchTiming"]

_LOOKS_PER_SECOND: Final = 5
"""How many looks the accounts of one process come to together, until each is at its slowest: from 300 accounts on."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses after failures: the first, then twice as long each time.

    Attributes:
        first: The first pause.
        longest: The longest one.

    """

    first: float
    longest: float

    def pause(self, failures: int) -> float:
        """Return the pause after a number of failures in a row, one or more."""
        return min(self.longest, self.first * 2.0 ** min(max(0, failures - 1), 16))


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an invoice is asked about.

    The server drops events (flash-server.md 3.5), so it is asked while the subscription is up, too.

    Attributes:
        polling: The first pause of an unpaid invoice while there is no subscription.
        subscribed: The same while there is one.
        young: Pauses grow with the invoice's age up to this; from ten times this age on they are a tenth of the age.
        slowest: The longest pause.
        fruitless: Pauses after a question that brought nothing.
        late: The first pause after an invoice was called expired; later ones are as long as it has been expired for.
        slowest_late: The longest of those.

    """

    polling: float = 2.0
    subscribed: float = 3.0
    young: float = 6.0
    slowest: float = 300.0
    fruitless: Backoff = Backoff(1.0, 30.0)
    late: float = 20.0
    slowest_late: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Spacing:
    """How long to pause between two questions.

    Attributes:
        usual: While no invoice waits.
        least: While invoices wait for their turn; the longer the first of them has, the nearer the pause comes to it.

    """

    usual: float
    least: float

    def after(self, lag: float) -> float:
        """Return the pause after a question when the longest waiting invoice has been due for that many seconds."""
        return max(self.least, self.usual / (1 + lag))


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """Every wait of watching one account.

    Attributes:
        pace: How often an invoice is asked about.
        spacing: Between two questions.
        api_key_spacing: The same where questions cost an API key: below its 120 a minute (flash-server.md 1.4).
        connect: How long socket and subscription may take.
        ask: How long an answer may take.
        reconnect: Before connecting again; at random up to that.
        trouble: Before asking again when no way to the server worked.
        longest_closure: The most to wait when the server takes no more for now, whatever it says: that may be meant for
            new invoices.
        stable: For how long a subscription has to hold before its loss is a first loss again.
        refusal: For how long the token has to be refused over and over before it is called dead.
        token: After which the server is made to look the token up, where nothing else has shown that it lives.
        token_seldom: The same for an API key, and where very many accounts listen.
        token_doubted: The same after a refusal that proves nothing by itself.
        identify: Before asking again whose account this is.
        journal: Before a journal that could not be read is read again.
        journal_patience: For how long that is tried before listeners are told.
        amount_patience: How long a paid invoice waits for its amount before listeners are told of it without.
        receipts: Between two looks for the amounts and preimages of paid invoices.

    """

    pace: Pace = field(default_factory=Pace)
    spacing: Spacing = Spacing(usual=0.05, least=0.005)
    api_key_spacing: Spacing = Spacing(usual=0.6, least=0.6)
    connect: float = 6.0
    ask: float = 10.0
    reconnect: Backoff = Backoff(0.5, 30.0)
    trouble: Backoff = Backoff(0.25, 10.0)
    longest_closure: float = 60.0
    stable: float = 5.0
    refusal: float = 2.0
    token: float = 10.0
    token_seldom: float = 60.0
    token_doubted: float = 2.5
    identify: float = 10.0
    journal: float = 1.0
    journal_patience: float = 30.0
    amount_patience: float = 3.0
    receipts: Backoff = Backoff(1.0, 600.0)


class TokenLooks:
    """How often tokens are looked up, for the accounts that listen on one event loop: the more, the more seldom each.

    Attributes:
        listening: How many accounts listen.

    """

    def __init__(self) -> None:
        self.listening = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Count an account for as long as the block runs."""
        self.listening += 1
        try:
            yield
        finally:
            self.listening -= 1

    def pause(self, timing: WatchTiming) -> float:
        """Return how long after a sign of life an account's token is looked up, in seconds."""
        return min(timing.token_seldom, max(timing.token, self.listening / _LOOKS_PER_SECOND))
