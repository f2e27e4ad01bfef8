"""Getting an invoice over the amount wanted from a server that is asked in cents: ask, compare, ask again."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final

from connection_strings.errors import AmountMismatch, InvalidRequest
from flash_driver.money.decimals import EXACT

if TYPE_CHECKING:
    from flash_driver.money.rate_book import Quote, RateBook

__all__ = ["MOST_REQUESTS", "AmountSearch"]

MOST_REQUESTS: Final = 3

_MSAT_PER_SAT: Final = 1000
_MAX_CENTS: Final = Decimal(10) ** 13
"""What the server's scalars take at the most (flash-server.md 4)."""


class AmountSearch:
    """The requests for one invoice.

    Whole satoshi are preferred where they were asked for, since some wallets can't pay fractions: an invoice that
    would do but for its fraction is kept as the best so far, and one more is asked for.

    Args:
        asked_msat: The amount wanted, in millisatoshi.
        tolerance_percent: How much more it may be; None where it has to be that very amount (LUD-06). Never less.

    Attributes:
        best_msat: The amount to be handed out of those that were had, None before one that will do.

    """

    def __init__(self, asked_msat: int, tolerance_percent: Decimal | None) -> None:
        self.asked_msat = asked_msat
        with localcontext(EXACT):
            self._most = None if tolerance_percent is None else asked_msat * (1 + tolerance_percent / 100)
        self._tries: list[tuple[Quote, int]] = []
        self.best_msat: int | None = None

    def next_quote(self, rates: RateBook) -> Quote:
        """Return what to ask for now.

        Raises:
            AmountMismatch: Nothing that could still be asked for leads to the amount.
            InvalidRequest: The amount is less than the server can charge, or more.
            RateUnknown: Nothing is known of the rate.

        """
        if len(self._tries) == MOST_REQUESTS or (self._tries and self._between_neighbours):
            raise AmountMismatch(self.asked_msat, [msat for _, msat in self._tries])
        quote = rates.quote(self.asked_msat, most=self._most)
        if self._tries:
            quote = self._not_again(self._inside(quote))
        if quote.cents <= 0:
            raise InvalidRequest("amount", "is less than the smallest fraction of a cent that Flash can charge")
        if quote.cents > _MAX_CENTS:
            raise InvalidRequest("amount", "is more than Flash can put into an invoice")
        return quote

    def settle(self, quote: Quote, msat: int) -> bool:
        """Take in the amount of the invoice that a quote led to; say whether the search is over and `best_msat` it."""
        had_one = self.best_msat is not None
        self._tries.append((quote, msat))
        if self.acceptable(msat) and (self.best_msat is None or self._cost(msat) < self._cost(self.best_msat)):
            self.best_msat = msat
        return self.best_msat is not None and (had_one or self._is_as_whole(self.best_msat))

    def _cost(self, msat: int) -> tuple[bool, int]:
        """What speaks against an amount: whole satoshi go before fractions, less before more."""
        return not self._is_as_whole(msat), msat

    def _is_as_whole(self, msat: int) -> bool:
        """Whether an amount is in whole satoshi, if that is how it was asked for."""
        return self.asked_msat % _MSAT_PER_SAT != 0 or msat % _MSAT_PER_SAT == 0

    def acceptable(self, msat: int) -> bool:
        """Whether an invoice over this amount will do."""
        return msat == self.asked_msat if self._most is None else self.asked_msat <= msat <= self._most

    @property
    def _between_neighbours(self) -> bool:
        """Whether two requests that differ by the smallest unit led to too little and to too much."""
        below = [quote for quote, msat in self._tries if msat < self.asked_msat]
        above = [quote for quote, msat in self._tries if msat > self.asked_msat]
        with localcontext(EXACT):
            return any(0 < more.cents - less.cents <= more.unit for less in below for more in above)

    def _inside(self, quote: Quote) -> Quote:
        """Move a request to the middle between one that led to too little and one that led to too much, if need be."""
        less = max((tried.cents for tried, msat in self._tries if msat < self.asked_msat), default=None)
        more = min((tried.cents for tried, msat in self._tries if msat > self.asked_msat), default=None)
        if less is None or more is None or less >= more or less < quote.cents < more:
            return quote
        with localcontext(EXACT):
            return replace(quote, cents=((less + more) / 2).quantize(quote.unit))

    def _not_again(self, quote: Quote) -> Quote:
        """Move a request that was made already by the smallest unit in the direction that it missed."""
        for tried, msat in self._tries:
            if tried.cents == quote.cents:
                with localcontext(EXACT):
                    return replace(quote, cents=quote.cents + (quote.unit if msat < self.asked_msat else -quote.unit))
        return quote
