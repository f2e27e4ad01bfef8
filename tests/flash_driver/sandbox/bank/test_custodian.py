from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flash_driver.sandbox.bank.custodian import Custodian, UnknownCurrencyError

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.conftest import Clock


def _custodian(clock: Clock, **more: Any) -> Custodian:
    arguments: dict[str, Any] = {
        "usd_per_btc": Decimal(100_000),
        "spread": Decimal(0),
        "drift_percent_per_minute": Decimal(0),
        "unit": "msat",
        "rounding": "half-even",
        "clock": clock,
    }
    return Custodian(**{**arguments, **more})


def test_without_a_spread_cents_become_satoshis_at_the_price(clock: Clock) -> None:
    """At 100,000 dollars a bitcoin, a cent is ten satoshis."""
    assert _custodian(clock).msat_for(Decimal(1)) == 10_000


def test_the_payer_bears_the_spread(clock: Clock) -> None:
    """The price service knows nothing of the spread; the invoice is larger by it, and a payment dearer."""
    custodian = _custodian(clock, spread=Decimal("0.01"))
    assert custodian.usd_per_btc == Decimal(100_000)
    assert custodian.msat_for(Decimal(99)) == 1_000_000
    assert custodian.cents_for(1_000_000) == Decimal(99)
    assert custodian.cost_of(1_000_000) == Decimal(101)
    assert custodian.msat_bought(Decimal(101)) == 1_000_000


@pytest.mark.parametrize(
    ("unit", "rounding", "msat"),
    [
        ("msat", "half-even", 12_346),
        ("msat", "down", 12_345),
        ("msat", "up", 12_346),
        ("sat", "half-even", 12_000),
        ("sat", "down", 12_000),
        ("sat", "up", 13_000),
    ],
)
def test_invoices_are_rounded_as_told(clock: Clock, unit: str, rounding: str, msat: int) -> None:
    """The unit says to what, the rounding which way."""
    assert _custodian(clock, unit=unit, rounding=rounding).msat_for(Decimal("1.23456")) == msat


def test_the_resolution_is_that_of_the_currency(clock: Clock) -> None:
    """USD comes through to a millionth of a cent, USDT to a ten-thousandth, half-even."""
    custodian = _custodian(clock)
    assert custodian.accept(Decimal("1.23456789"), "USD") == Decimal("1.234568")
    assert custodian.accept(Decimal("1.23456789"), "USDT") == Decimal("1.2346")
    assert custodian.accept(Decimal("1.23445"), "USDT") == Decimal("1.2344")


def test_the_price_drifts_with_time(clock: Clock) -> None:
    """A drift of one per cent a minute moves both rates."""
    custodian = _custodian(clock, drift_percent_per_minute=Decimal(1), spread=Decimal("0.5"))
    clock.advance(minutes=2)
    assert custodian.usd_per_btc == Decimal(102_000)
    assert custodian.bid == Decimal(51_000)


def test_the_price_never_falls_to_nothing(clock: Clock) -> None:
    """A long fall ends at a cent, not below zero."""
    custodian = _custodian(clock, drift_percent_per_minute=Decimal(-50))
    clock.advance(hours=1)
    assert custodian.usd_per_btc == Decimal("0.01")


def test_setting_the_price_keeps_what_is_not_named(clock: Clock) -> None:
    """A new drift starts from the price of the moment; a new price keeps the spread."""
    custodian = _custodian(clock, drift_percent_per_minute=Decimal(1), spread=Decimal("0.1"))
    clock.advance(minutes=1)
    custodian.set_price(drift_percent_per_minute=Decimal(0))
    clock.advance(minutes=1)
    assert custodian.usd_per_btc == Decimal(101_000)
    custodian.set_price(usd_per_btc=Decimal(50_000))
    assert custodian.bid == Decimal(45_000)
    custodian.set_price(spread=Decimal(0))
    assert custodian.bid == Decimal(50_000)


def test_a_quote_has_the_offsets_of_flash(clock: Clock) -> None:
    """Minor units per satoshi are base / 10^12; per US cent base / 10^6."""
    quote = _custodian(clock).quote()
    assert (quote.sat_base, quote.sat_offset) == (10**11, 12)
    assert (quote.cent_base, quote.cent_offset) == (10**6, 6)
    assert quote.timestamp == int(clock().timestamp())


def test_the_yen_has_no_cents(clock: Clock) -> None:
    """A currency's own number of decimals decides what a minor unit is."""
    quote = _custodian(clock).quote("JPY")
    assert quote.sat_base == 152_400_000_000
    assert quote.cent_base == 1_524_000


def test_an_unknown_currency_has_no_price(clock: Clock) -> None:
    """The service doesn't invent one."""
    with pytest.raises(UnknownCurrencyError, match="XYZ"):
        _custodian(clock).quote("XYZ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cents=st.decimals(min_value="0.01", max_value=10**9, places=6))
def test_more_cents_never_make_a_smaller_invoice(clock: Clock, cents: Decimal) -> None:
    """Conversion is monotonic, to the last digit the custodian takes."""
    custodian = _custodian(clock, usd_per_btc=Decimal("97531.86"))
    assert custodian.msat_for(cents) <= custodian.msat_for(cents + Decimal("0.000001"))
