"""Where checkouts are opened, looked at and kept fresh: what pages, API and flashcards share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from lightning_host.checkout.fiat import FiatQuotes
from lightning_host.checkout.live import LiveCheckouts
from lightning_host.checkout.renewal import CheckoutRenewal, is_due
from lightning_host.checkout.table import CheckoutTable
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from connection_strings import LightMoney
    from lightning_host.checkout.table import Checkout
    from lightning_host.host import Host
    from lightning_host.stores import Store

__all__ = ["DESK", "CheckoutService", "unknown_checkout"]


class CheckoutService:
    """Opens checkouts and finds them again.

    Attributes:
        rows: Where they are remembered.
        watch: Follows those that somebody looks at.

    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._fiat = FiatQuotes()
        self.rows = CheckoutTable(host.database)
        self._renewal = CheckoutRenewal(host, self.rows)
        self.watch = LiveCheckouts(host, self.rows, self._renewal)

    async def open(
        self,
        store: Store,
        amount: LightMoney,
        *,
        description: str = "",
        seconds: int | None = None,
        external_id: str | None = None,
        redirect_url: str | None = None,
        card: str | None = None,
    ) -> Checkout:
        """Open a checkout with its first invoice.

        Raises:
            LightningError: The wallet makes none.

        """
        checkout = await self.rows.add(
            store.id,
            amount,
            description=description,
            seconds=seconds or self._host.settings.checkout_seconds,
            external_id=external_id,
            redirect_url=redirect_url,
            card=card,
            fiat=await self._fiat.words(store, amount),
        )
        await self._renewal.first(checkout)
        return await self.find(checkout.id)

    async def find(self, checkout_id: str) -> Checkout:
        """Return a checkout.

        Raises:
            ProblemError: There is none (404).

        """
        checkout = await self.rows.find(checkout_id)
        if checkout is None:
            raise unknown_checkout()
        return checkout

    async def fresh(self, checkout_id: str) -> Checkout:
        """Return a checkout with an invoice that can be paid for a while yet, if one can be had.

        Raises:
            ProblemError: There is no such checkout (404).

        """
        checkout = await self.find(checkout_id)
        if is_due(checkout, datetime.now(UTC)):
            await self._renewal.renew(checkout)
            checkout = await self.find(checkout_id)
        return checkout

    def link(self, checkout: Checkout) -> str:
        """Return the URL of the page that payers see."""
        return self._host.url(f"/checkout/{checkout.id}")


def unknown_checkout() -> ProblemError:
    """Make the problem of a checkout that does not exist."""
    return ProblemError.make(404, "checkout-not-found", "there is no such checkout")


DESK: Final = web.AppKey("service", CheckoutService)
"""Where an application keeps it."""
