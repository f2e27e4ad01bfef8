"""What paid invoices brought: the amount of an amountless one, and the preimage, which no settlement tells."""

from __future__ import annotations

import asyncio
import calendar
from dataclasses import dataclass, replace
from decimal import localcontext
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError, RateLimited, RequestRefused
from flash_driver.flash_api.documents import TRANSACTION_DETAILS, TRANSACTIONS
from flash_driver.flash_api.replies import (
    Currency,
    read_receipt_hash,
    read_receive_ids,
    read_receive_times,
    read_received,
)
from flash_driver.money.decimals import EXACT
from flash_driver.transports.delivery import TemporarilyRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.replies import Received
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
    """What came in for an invoice.

    Attributes:
        msat: How much, in millisatoshi; estimated where the wallet holds dollars.
        preimage: None where the server does not tell it.
        came_at: When, to a second, by the server's clock; None where it does not tell.

    """

    msat: int
    preimage: str | None
    came_at: datetime | None = None


class Receipts:
    """Finds the transaction that settled an invoice, by payment hash alone (flash-server.md 3.9)."""

    def __init__(self, router: Router, wallets: WalletDirectory, rates: Callable[[Currency], RateBook]) -> None:
        self._router = router
        self._wallets = wallets
        self._rates = rates
        self._hashes: dict[str, str] = {}

    async def find(self, record: InvoiceRecord, deadline: Deadline) -> Receipt:
        """Look for one invoice through the account's latest receipts.

        Raises:
            LightningError: It is not among them, or they can't be read now.

        """
        found = await self.find_many([record], deadline)
        if record.payment_hash not in found:
            raise LightningError("the invoice is paid, but the server does not say yet how much; ask again")
        return found[record.payment_hash]

    async def find_many(self, records: Sequence[InvoiceRecord], deadline: Deadline) -> dict[str, Receipt]:
        """Look for invoices through the account's latest receipts; one listing serves all of them.

        Returns:
            What was found, by payment hash.

        Raises:
            LightningError: Nothing was found, and some receipts can't be read now.

        """
        wanted = {record.payment_hash: record for record in records}
        wallet = await self._wallets.choose(deadline)
        # After a move of wallets the server hides the one that an older invoice credits (flash-server.md 3.2).
        own = {*wallet.account_wallet_ids, *(record.wallet_id for record in records)}
        listing = (await self._router.perform(TRANSACTIONS(first=_LATEST), deadline)).data("listing receipts")
        times = read_receive_times(listing)
        since = min(calendar.timegm(record.created_at.utctimetuple()) for record in records) - _SLACK
        ids = [
            transaction_id
            for transaction_id in read_receive_ids(listing, since)
            if (known := self._hashes.get(transaction_id)) is None or known in wanted
        ]
        found: dict[str, Receipt] = {}
        unreadable: LightningError | None = None
        for start in range(0, len(ids), _AT_ONCE):
            part = ids[start:][:_AT_ONCE]
            reading = (self._read(transaction_id, wanted, own, deadline) for transaction_id in part)
            answers = await asyncio.gather(*reading, return_exceptions=True)
            for transaction_id, answer in zip(part, answers, strict=True):
                if isinstance(answer, LightningError):
                    # One that the server can't tell of must not hide the others.
                    unreadable = unreadable or answer
                elif isinstance(answer, BaseException):
                    raise answer
                elif answer is not None:
                    found[answer[0]] = replace(answer[1], came_at=times.get(transaction_id))
            over = isinstance(unreadable, RateLimited) or not isinstance(
                unreadable, RequestRefused | TemporarilyRefused | None
            )
            if over or len(found) == len(wanted):
                break
        if unreadable is not None and not found:
            raise unreadable
        return found

    async def _read(
        self, transaction_id: str, wanted: Mapping[str, InvoiceRecord], own: Collection[str], deadline: Deadline
    ) -> tuple[str, Receipt] | None:
        """Read one transaction, and remember whose it is so that it is not read for another invoice again."""
        details = TRANSACTION_DETAILS(input={"transactionId": transaction_id})
        data = (await self._router.perform(details, deadline)).data("reading a receipt")
        payment_hash = read_receipt_hash(data)
        if payment_hash is None:
            return None
        self._hashes[transaction_id] = payment_hash
        if len(self._hashes) > _REMEMBERED:
            del self._hashes[next(iter(self._hashes))]
        record = wanted.get(payment_hash)
        received = None if record is None else read_received(data, payment_hash, own)
        if record is None or received is None:
            return None
        return payment_hash, Receipt(self._msat(record, received), received.preimage)

    def _msat(self, record: InvoiceRecord, received: Received) -> int:
        currency = Currency(record.currency)
        if not currency.in_cents:
            with localcontext(EXACT):
                return int(received.cents * _MSAT_PER_HUNDREDTH_BTC)
        return self._rates(currency).paid_msat(received.cents)
