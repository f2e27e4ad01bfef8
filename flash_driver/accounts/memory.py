"""What this process remembers of an account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flash_driver.flash_api.replies import Currency
from flash_driver.invoices.lookup import Outage
from flash_driver.invoices.request import HashSupport
from flash_driver.invoices.server_clock import ServerClock
from flash_driver.money.rate_book import RateBook
from flash_driver.money.sending_rate import SendingRate
from flash_driver.money.server_price import ServerPrice
from flash_driver.transports.capabilities import Capabilities
from flash_driver.transports.contact import Contact

if TYPE_CHECKING:
    from flash_driver.payments.attempt_store import Unkept

__all__ = ["AccountMemory"]

_DECIMALS: Final = {Currency.USD: 6, Currency.USDT: 4, Currency.BTC: 0}


@dataclass(frozen=True, slots=True)
class AccountMemory:
    """What this process remembers of an account between clients, besides its journal; bound to no event loop."""

    capabilities: Capabilities = field(default_factory=Capabilities)
    price: ServerPrice = field(default_factory=ServerPrice)
    receiving: dict[Currency, RateBook] = field(init=False)
    sending: dict[Currency, SendingRate] = field(init=False)
    server_clock: ServerClock = field(default_factory=ServerClock)
    hashes: HashSupport = field(default_factory=HashSupport)
    outage: Outage = field(default_factory=Outage)
    contact: Contact = field(default_factory=Contact)
    unkept_payments: dict[str, Unkept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        receiving = {currency: RateBook(decimals, self.price) for currency, decimals in _DECIMALS.items()}
        sending = {currency: SendingRate(decimals, self.price) for currency, decimals in _DECIMALS.items()}
        object.__setattr__(self, "receiving", receiving)
        object.__setattr__(self, "sending", sending)
