"""What an amountless invoice brought: the one thing that neither its BOLT11 nor its settlement tells."""

from __future__ import annotations

import asyncio
import calendar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError, RateLimited, RequestRefused
from flash_driver.common.decimals import exactly
from flash_driver.flash_api.documents import TRANSACTION_DETAILS, TRANSACTIONS
from flash_driver.flash_api.replies import Currency, Received, read_receipt_hash, read_receive_ids, read_received
from flash_driver.transports.delivery import TemporarilyRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.common.deadline import Deadline
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.money.rate_book import RateBook
    from flash_driver.transports.router import Router
    from flash_driver.wallets import WalletDirectory

__all__ = ["Receipt", "Receipts"]

_LATEST: Final = 100
"""As many as the server gives at the most."""
_AT_ONCE: Final = 8
_SLACK: Final = 60
"""How many seconds earlier than its invoice a receipt may be dated: the clocks of server and custodian may differ."""
_REMEMBERED: Final = 10_000
_MSAT_PER_HUNDREDTH_BTC: Final = 10**9


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came in for an invoice: millisatoshi (estimated where the wallet holds dollars), preimage if told."""

    msat: int
    preimage: str | None


class Receipts:
    """Finds the transaction that settled an invoice, by payment hash alone (flash-server.md 3.9)."""

    def __init__(self, router: Router, wallets: WalletDirectory, rates: Callable[[Currency], RateBook]) -> None:
        self._router = router
        self._wallets = wallets
        self._rates = rates
        self._hashes: dict[str, str] = {}

    async def find(self, record: InvoiceRecord, deadline: Deadline) -> Receipt:
        """Look through the account's latest receipts.

        Raises:
            LightningError: It is not among them, or they can't be read now.

        """
        wallet = await self._wallets.choose(deadline)
        # After a move of wallets the server hides the one that an older invoice credits (flash-server.md 3.2).
        own = (*wallet.account_wallet_ids, record.wallet_id)
        listing = (await self._router.perform(TRANSACTIONS(first=_LATEST), deadline)).data("listing receipts")
        since = calendar.timegm(record.created_at.utctimetuple()) - _SLACK
        ids = [
            transaction_id
            for transaction_id in read_receive_ids(listing, since)
            if self._hashes.get(transaction_id) in (None, record.payment_hash)
        ]
        unreadable: LightningError | None = None
        for start in range(0, len(ids), _AT_ONCE):
            reading = (self._read(transaction_id, record, own, deadline) for transaction_id in ids[start:][:_AT_ONCE])
            found = await asyncio.gather(*reading, return_exceptions=True)
            for received in found:
                if isinstance(received, Received):
                    return Receipt(self._msat(record, received), received.preimage)
            for trouble in found:
                if isinstance(trouble, RequestRefused | TemporarilyRefused) and not isinstance(trouble, RateLimited):
                    # One that the server can't tell of must not hide the others.
                    unreadable = unreadable or trouble
                elif isinstance(trouble, BaseException):
                    raise trouble
        if unreadable is not None:
            raise unreadable
        raise LightningError("the invoice is paid, but the server does not say yet how much; ask again")

    async def _read(
        self, transaction_id: str, record: InvoiceRecord, own: tuple[str, ...], deadline: Deadline
    ) -> Received | None:
        """Read one transaction, and remember whose it is so that it is not read for another invoice again."""
        details = TRANSACTION_DETAILS(input={"transactionId": transaction_id})
        data = (await self._router.perform(details, deadline)).data("reading a receipt")
        payment_hash = read_receipt_hash(data)
        if payment_hash is not None:
            self._hashes[transaction_id] = payment_hash
            if len(self._hashes) > _REMEMBERED:
                del self._hashes[next(iter(self._hashes))]
        return read_received(data, record.payment_hash, own)

    def _msat(self, record: InvoiceRecord, received: Received) -> int:
        currency = Currency(record.currency)
        if not currency.in_cents:
            with exactly():
                return int(received.cents * _MSAT_PER_HUNDREDTH_BTC)
        return self._rates(currency).paid_msat(received.cents)
