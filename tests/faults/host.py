"""A host that keeps to the contract and to nothing else: the shop whose money is at stake."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from connection_strings import (
    LightMoney,
    LightningError,
    LightningInvoice,
    LightningInvoiceStatus,
    LightningPaymentStatus,
    PayInvoiceParams,
    PayResult,
)

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.settlements.listeners import FlashInvoiceListener

__all__ = ["Ear", "Host"]

_PATIENCE: Final = 1.2


@dataclass(slots=True)
class Ear:
    """One listener's life: it listens, and again from its cursor whenever it can't go on.

    Attributes:
        changed: Set whenever it was given something.
        heard: What it was given, in order.

    """

    client: FlashLightningClient
    changed: asyncio.Event
    heard: list[LightningInvoice] = field(default_factory=list)
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    current: FlashInvoiceListener | None = None
    cursor: str | None = None

    async def listen(self) -> None:
        """Hear for ever."""
        while True:
            with contextlib.suppress(LightningError):
                self.current = await self.client.listen(after=self.cursor)
                self.cursor = self.current.cursor
                self.listening.set()
                async for invoice in self.current:
                    self.heard.append(invoice)
                    self.cursor = self.current.cursor
                    self.changed.set()
            await asyncio.sleep(0.02)

    async def listen_anew(self) -> None:
        """Close the listener; `listen` opens the next one behind it."""
        if self.current is not None:
            await self.current.aclose()


class Host:
    """What a shop does with its clients.

    Attributes:
        invoices: The invoices that were handed out to it.
        said_expired: Those it was told have expired, and so has dropped for good.
        lost: Those it was told do not exist.
        told_paid: Payments it was told are made.
        told_failed: Payments it was told failed, and so has made again.
        heard: Set whenever any listener was given something.

    """

    def __init__(self, clients: list[FlashLightningClient], send_seconds: float) -> None:
        self.clients = clients
        self.send_seconds = send_seconds
        self.heard = asyncio.Event()
        self.ears = [Ear(client, self.heard) for client in clients]
        self.invoices: list[LightningInvoice] = []
        self.said_expired: set[str] = set()
        self.said_paid: set[str] = set()
        self.lost: set[str] = set()
        self.told_paid: set[str] = set()
        self.told_failed: set[str] = set()

    def replace(self, client: FlashLightningClient, fresh: FlashLightningClient) -> None:
        """Use another client from now on, and listen by it."""
        self.clients[self.clients.index(client)] = fresh
        for ear in self.ears:
            if ear.client is client:
                ear.client = fresh

    async def create(self, client: FlashLightningClient, sats: int, patience: float = _PATIENCE) -> None:
        """Ask for an invoice, and give up after a while as a host does."""
        with contextlib.suppress(LightningError, TimeoutError):
            async with asyncio.timeout(patience):
                self.invoices.append(await client.create_invoice(LightMoney.from_sat(sats), "a coffee"))

    async def look_up(self, client: FlashLightningClient, invoice: LightningInvoice) -> None:
        """Ask how an invoice stands, and believe the answer for good, as BTCPay Server does."""
        with contextlib.suppress(LightningError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                found = await client.get_invoice(invoice.id)
                if found is None:
                    self.lost.add(invoice.id)
                elif found.status is LightningInvoiceStatus.EXPIRED:
                    self.said_expired.add(invoice.id)
                elif found.status is LightningInvoiceStatus.PAID:
                    self.said_paid.add(invoice.id)

    async def pay(
        self,
        client: FlashLightningClient,
        bolt11: str,
        payment_hash: str,
        *,
        amount: LightMoney | None = None,
        max_fee_flat: LightMoney | None = None,
        patience: float = 60.0,
    ) -> None:
        """Pay, and pay again whenever the contract says that no money left (flash-server.md 7.4)."""
        for _ in range(3):
            if not await self._pay_once(client, bolt11, payment_hash, amount, max_fee_flat, patience):
                return

    async def _pay_once(  # noqa: PLR0917 - private, one caller
        self,
        client: FlashLightningClient,
        bolt11: str,
        payment_hash: str,
        amount: LightMoney | None,
        max_fee_flat: LightMoney | None,
        patience: float,
    ) -> bool:
        """Pay once; say whether to pay again."""
        params = PayInvoiceParams(
            amount=amount, max_fee_flat=max_fee_flat, send_timeout=timedelta(seconds=self.send_seconds)
        )
        try:
            async with asyncio.timeout(patience):
                answer = await client.pay(bolt11, params)
        except (LightningError, TimeoutError):
            return await self._is_safe_to_pay_again(client, payment_hash)
        match answer.result:
            case PayResult.OK:
                self.told_paid.add(payment_hash)
                return False
            case PayResult.ERROR | PayResult.COULD_NOT_FIND_ROUTE:
                self.told_failed.add(payment_hash)
                return True
            case PayResult.UNKNOWN:
                return await self._is_safe_to_pay_again(client, payment_hash)

    async def _is_safe_to_pay_again(self, client: FlashLightningClient, payment_hash: str) -> bool:
        try:
            payment = await client.get_payment(payment_hash)
        except LightningError:
            return False
        if payment is not None and payment.status is LightningPaymentStatus.COMPLETE:
            self.told_paid.add(payment_hash)
        return payment is None or payment.status is LightningPaymentStatus.FAILED
