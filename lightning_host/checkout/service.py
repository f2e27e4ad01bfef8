"""Where checkouts are opened, looked at and kept fresh: what pages, API and flashcards share."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from connection_strings import LightningError
from lightning_host.checkout.fiat import FiatQuotes
from lightning_host.checkout.live import LiveCheckouts
from lightning_host.checkout.renewal import CheckoutRenewal, is_due
from lightning_host.checkout.table import CheckoutTable
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connection_strings import LightMoney
    from lightning_host.checkout.table import Checkout
    from lightning_host.host import Host
    from lightning_host.stores import Store

__all__ = ["SERVICE", "CheckoutService", "unknown_checkout"]


class CheckoutService:
    """Opens checkouts and finds them again.

    Attributes:
        rows: Where they are remembered.
        watch: Follows those that somebody looks at.
        fiat: Tells what amounts are worth.

    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.fiat = FiatQuotes()
        self.rows = CheckoutTable(host.database)
        self._renewal = CheckoutRenewal(host, self.rows)
        self.watch = LiveCheckouts(host, self.rows, self._renewal)

    @property
    def postponed(self) -> Mapping[str, int]:
        """How often a renewal had to wait for the budget, by store, in this process."""
        return self._renewal.postponed

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
        once: bool = False,
    ) -> Checkout:
        """Open a checkout with its first invoice: both are there, or neither.

        With `once`, asking again with the same `external_id` returns the checkout that there is.

        Raises:
            LightningError: The wallet makes no invoice.
            ProblemError: `external_id` names a checkout over another amount (409).

        """
        if once and external_id is not None:
            earlier = await self.rows.find_order(store.id, external_id)
            if earlier is not None:
                return _same(earlier, amount)
        seconds = seconds or self._host.settings.checkout_seconds
        checkout_id, invoice = secrets.token_hex(16), None
        if self._host.settings.checkout_codes != "lnurl":
            invoice = await self._renewal.make(
                store, checkout_id, amount, description=description, external_id=external_id, seconds=seconds
            )
        checkout = await self.rows.add(
            checkout_id,
            store.id,
            amount,
            invoice,
            description=description,
            seconds=seconds,
            external_id=external_id,
            redirect_url=redirect_url,
            card=card,
            fiat=await self.fiat.words(store, amount),
            once=once,
        )
        return _same(checkout, amount)

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
        if self._host.settings.checkout_codes != "lnurl" and is_due(checkout, datetime.now(UTC)):
            await self._renewal.renew(checkout, ahead=self.watch.ahead_of(checkout))
            checkout = await self.find(checkout_id)
        return checkout

    async def was_paid(self, store: Store, checkout: Checkout) -> bool:
        """Ask the wallet about the codes handed out last, and tell whether the checkout is paid (see `renewal.py`).

        Raises:
            LightningError: The wallet can't tell now.

        """
        try:
            return await self._renewal.was_paid(store, checkout)
        except TimeoutError:
            raise LightningError("the wallet does not tell whether this has been paid") from None

    def link(self, checkout: Checkout) -> str:
        """Return the URL of the page that payers see."""
        return self._host.url(f"/checkout/{checkout.id}")


def _same(checkout: Checkout, amount: LightMoney) -> Checkout:
    """Insist that a checkout found by its shop's name for it is the one that was asked for."""
    if checkout.amount != amount:
        raise ProblemError.make(409, "external-id-used", "externalId names a checkout over another amount")
    return checkout


def unknown_checkout() -> ProblemError:
    """Make the problem of a checkout that does not exist."""
    return ProblemError.make(404, "checkout-not-found", "there is no such checkout")


SERVICE: Final = web.AppKey("service", CheckoutService)
"""Where an application keeps it."""
