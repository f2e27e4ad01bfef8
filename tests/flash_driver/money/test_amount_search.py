"""Asking for an amount: exactly, or never less and not much more; three times at the most, never the same twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connection_strings.errors import AmountMismatch, InvalidRequest
from flash_driver.flash_api.replies import PriceTick
from flash_driver.money.amount_search import MOST_REQUESTS, AmountSearch
from flash_driver.money.rate_book import Quote, RateBook
from flash_driver.money.server_price import ServerPrice

START = datetime(2026, 1, 1, tzinfo=UTC)


def rates(per_sat: str = "0.1", decimals: int = 6) -> RateBook:
    """Make a book that knows the price and nothing else."""
    book = RateBook(decimals, ServerPrice(lambda: START), lambda: START)
    book.see_price(PriceTick(Decimal(per_sat), START))
    return book


def test_exact_amount_is_that_amount() -> None:
    """Without a tolerance one millisatoshi more or less will not do."""
    search = AmountSearch(1_000_000, None)
    assert [search.acceptable(msat) for msat in (999_999, 1_000_000, 1_000_001)] == [False, True, False]


def test_tolerance_is_upwards_only() -> None:
    """With a tolerance less will never do, and more up to the percentage does."""
    search = AmountSearch(1_000_000, Decimal(1))
    assert [search.acceptable(msat) for msat in (999_999, 1_000_000, 1_010_000, 1_010_001)] == [
        False,
        True,
        True,
        False,
    ]


def test_gives_up_after_three() -> None:
    """After three requests the amounts that could be had are told."""
    search, book = AmountSearch(1_000_000, None), rates()
    for got in (1_000_100, 1_000_200, 1_000_300):
        assert not search.settle(search.next_quote(book), got)
    with pytest.raises(AmountMismatch) as mismatch:
        search.next_quote(book)
    assert mismatch.value.available_msat == (1_000_100, 1_000_200, 1_000_300)
    assert len(mismatch.value.available_msat) == MOST_REQUESTS


def test_never_asks_the_same_twice() -> None:
    """Where the best quote has been tried, its neighbour on the right side is."""
    book = rates()
    low = AmountSearch(1_000_000, None)
    first = low.next_quote(book)
    low.settle(first, 999_999)
    assert low.next_quote(book).cents == first.cents + first.unit
    low.settle(Quote(Decimal(50), first.unit, 0, learned=False), 500_000)
    assert low.next_quote(book).cents == first.cents + first.unit
    high = AmountSearch(1_000_000, None)
    high.settle(high.next_quote(book), 1_000_001)
    assert high.next_quote(book).cents == first.cents - first.unit


def test_gives_up_between_neighbours() -> None:
    """When the smallest unit makes the difference between too little and too much, no third request is wasted."""
    search, book = AmountSearch(1_000_000, None), rates(decimals=4)
    search.settle(search.next_quote(book), 999_999)
    search.settle(search.next_quote(book), 1_000_001)
    with pytest.raises(AmountMismatch, match="could have had: 999999 msat, 1000001 msat"):
        search.next_quote(book)


def test_too_small_for_a_fraction_of_a_cent() -> None:
    """An amount that rounds to no cents at all is refused before anything is asked (the server would make it any)."""
    with pytest.raises(InvalidRequest, match="less than the smallest fraction of a cent"):
        AmountSearch(1, None).next_quote(rates("0.0000001"))


def test_too_large_for_the_server() -> None:
    """An amount beyond what the server's scalar takes is refused before anything is asked."""
    with pytest.raises(InvalidRequest, match="more than Flash can put"):
        AmountSearch(21_000_000 * 100_000_000_000, None).next_quote(rates("0.1"))
