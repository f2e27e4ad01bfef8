"""The server's price: what of it is believed, and when money is sent at it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from flash_driver.flash_api.replies import PriceTick
from flash_driver.money.server_price import RateUnknown, ServerPrice

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Service:
    """A price service on a clock of its own."""

    now: datetime = START

    def __post_init__(self) -> None:
        self.price = ServerPrice(lambda: self.now)

    def tell(self, price: str, *, after: int = 0, told_at: datetime | None = None) -> None:
        """Let the server tell its price, that many seconds later."""
        self.now += timedelta(seconds=after)
        self.price.see(PriceTick(Decimal(price), told_at or self.now))


def test_money_is_sent_at_no_old_price() -> None:
    """A price said more than a minute ago by our own clock is none to pay at, until the server repeats it."""
    service = Service()
    with pytest.raises(RateUnknown):
        service.price.to_pay_at()
    service.tell("0.0975")
    struck = service.now
    service.now += timedelta(seconds=61)
    with pytest.raises(RateUnknown, match="no older one"):
        service.price.to_pay_at()
    with pytest.raises(RateUnknown, match="no older one"):
        service.price.fee_msat(Decimal(1))
    service.tell("0.0975", told_at=struck)
    assert service.price.to_pay_at() == Decimal("0.0975")


def test_money_is_not_sent_at_a_price_in_doubt() -> None:
    """After a jump neither the old price nor the new one is paid at; the confirmation ends that."""
    service = Service()
    service.tell("0.0975")
    service.tell("0.05", after=1)
    with pytest.raises(RateUnknown, match="jumped"):
        service.price.to_pay_at()
    service.tell("0.05", told_at=service.now)
    with pytest.raises(RateUnknown, match="jumped"):
        service.price.to_pay_at()
    service.tell("0.05", after=1)
    assert service.price.to_pay_at() == Decimal("0.05")


@pytest.mark.parametrize(
    "apart", [timedelta(days=-400), timedelta(minutes=-7), timedelta(minutes=7), timedelta(days=1)]
)
def test_a_price_is_judged_by_the_servers_clock(apart: timedelta) -> None:
    """However far off this machine's clock is, that costs no price: only the server's own times are compared."""
    service = Service()
    for seconds, price in enumerate(["0.0975", "0.0976", "0.0974"]):
        service.tell(price, after=seconds, told_at=service.now + timedelta(seconds=seconds) + apart)
        assert service.price.to_pay_at() == Decimal(price)


def test_a_misdated_price_is_overcome() -> None:
    """Where the first price was dated a day ahead, the next two set it right; a stray one later changes nothing."""
    service = Service()
    service.tell("0.0975", told_at=service.now + timedelta(days=1))
    service.tell("0.0976", after=30)
    assert service.price.latest == PriceTick(Decimal("0.0975"), START + timedelta(days=1))
    service.tell("0.0974", after=30)
    assert service.price.to_pay_at() == Decimal("0.0974")
    service.tell("0.0973", after=30, told_at=service.now + timedelta(days=1))
    service.tell("0.0972", after=30)
    assert service.price.to_pay_at() == Decimal("0.0972")


def test_a_kept_price_is_passed_over() -> None:
    """An older price that some part of the server has kept, by ten minutes at the most, changes nothing."""
    service = Service()
    service.tell("0.0975")
    service.tell("0.0976", after=1, told_at=START - timedelta(minutes=9))
    assert service.price.to_pay_at() == Decimal("0.0975")


def test_a_fee_is_never_made_smaller() -> None:
    """A fee is rounded up to whole millisatoshi, so that a limit is kept."""
    service = Service()
    service.tell("0.3")
    assert service.price.fee_msat(Decimal("0.0001")) == 1
    assert service.price.fee_msat(Decimal("0.3")) == 1000
