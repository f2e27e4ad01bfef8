"""Journals that last as long as the process: for tests, demos and short scripts."""

from __future__ import annotations

import contextlib
import threading
import uuid
from dataclasses import replace
from functools import partial
from itertools import dropwhile
from typing import TYPE_CHECKING, Final, TypeVar

from connection_strings.errors import InvalidRequest
from connection_strings.lightning import LightningInvoiceStatus, LightningPaymentStatus
from flash_driver.journal.attempt_rules import (
    DEFINITE,
    Begun,
    counting_attempt,
    is_as_seen,
    replaced_attempt,
    telling_attempt,
)
from flash_driver.journal.budget_rules import Bucket, block_end, budget_wait, in_the_way, still_spent
from flash_driver.journal.errors import KnownElsewhere
from flash_driver.journal.journal import LISTED, PAGE, Journal
from flash_driver.journal.owner import JournalAccount, JournalOwner
from flash_driver.journal.wakeup import News, Wakeup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from flash_driver.journal.attempt_rules import Counted
    from flash_driver.journal.budget_rules import BudgetWait, InvoiceBudget
    from flash_driver.journal.journal import HashOf
    from flash_driver.journal.records import InvoiceRecord, PaymentRecord

__all__ = ["MemoryJournal", "MemoryStore"]

T = TypeVar("T")

_BEGINNING: Final = threading.Lock()
"""Held while a payment is begun: of two accounts that begin the same one, one wins."""


class _Rows:
    """What is kept of one account; `lock` is held for the moment that a method takes, so each happens whole."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.id = uuid.uuid4().hex[:12]
        self.news = News(made=Wakeup(), settled=Wakeup())
        self.lock = threading.Lock()
        self.invoices: dict[str, InvoiceRecord] = {}
        self.orphans: dict[str, InvoiceRecord] = {}
        self.made: list[str] = []
        self.settled: list[str] = []
        self.spent: dict[Bucket, list[datetime]] = {bucket: [] for bucket in Bucket}
        self.blocked_until: dict[Bucket, datetime] = {}
        self.payments: dict[str, list[PaymentRecord]] = {}

    def pending(self) -> list[InvoiceRecord]:
        """Return the unpaid invoices."""
        return [row for row in self.invoices.values() if row.status is LightningInvoiceStatus.UNPAID]

    def telling(self) -> list[PaymentRecord]:
        """Return of each payment the attempt that tells most."""
        rows = (telling_attempt(attempts) for attempts in self.payments.values())
        return [row for row in rows if row is not None]


def _behind(after: str | None, rows: Mapping[str, T], kind: str) -> list[T]:
    """Return the rows behind the one with this payment hash, all for None."""
    if after is None:
        return list(rows.values())
    if after not in rows:
        raise InvalidRequest("after", f"names no {kind} of this account; leave it out to list from the first")
    behind = dropwhile(lambda payment_hash: payment_hash != after, rows)
    next(behind)
    return [rows[payment_hash] for payment_hash in behind]


class MemoryStore:
    """Keeps the journals of many accounts as long as the process lasts; serves any event loop, in any thread."""

    def __init__(self) -> None:
        self._scopes: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._kept: list[_Rows] = []
        self._lock = threading.Lock()

    def journal(self, fingerprint: str, look_up: Callable[[], Awaitable[None]]) -> MemoryJournal:
        """Return the journal of the account that a credential opens."""
        return MemoryJournal(self._kept, JournalOwner(partial(self._find, fingerprint), look_up))

    async def aclose(self) -> None:
        """Keep everything: the next client of an account goes on with it."""

    async def _find(self, fingerprint: str, scope: str | None) -> JournalAccount | None:
        with self._lock:
            if scope is not None:
                self._scopes[fingerprint] = scope
            known = self._scopes.get(fingerprint)
            if known is None:
                return None
            number = self._numbers.setdefault(known, len(self._kept))
            if number == len(self._kept):
                self._kept.append(_Rows(known))
            rows = self._kept[number]
            return JournalAccount(number, rows.id, len(rows.settled), rows.news)


class MemoryJournal(Journal):
    """The journal of one account in a `MemoryStore`.

    Args:
        kept: What is kept of each account, in the order of their numbers.
        owner: Whose account it is.

    """

    def __init__(self, kept: Sequence[_Rows], owner: JournalOwner) -> None:
        super().__init__(owner)
        self._kept = kept

    async def _rows(self) -> _Rows:
        account = self.owner.current or await self.owner.account()
        return self._kept[account.number]

    # --- invoices ---------------------------------------------------------------------------------------------------

    async def add_invoice(self, record: InvoiceRecord) -> bool:
        """Keep a new invoice, unless the host has it already."""
        rows = await self._rows()
        with rows.lock:
            if record.payment_hash in rows.invoices:
                return False
            rows.orphans.pop(record.payment_hash, None)
            rows.invoices[record.payment_hash] = record
            rows.made.append(record.payment_hash)
        rows.news.made.wake()
        return True

    async def add_orphan(self, record: InvoiceRecord) -> None:
        """Keep an invoice that the host will not get."""
        rows = await self._rows()
        with rows.lock:
            if record.payment_hash not in rows.invoices:
                rows.orphans.setdefault(record.payment_hash, replace(record, orphan=True))

    async def list_orphans(self) -> list[InvoiceRecord]:
        """Return the orphans in the order they were made."""
        rows = await self._rows()
        with rows.lock:
            return list(rows.orphans.values())

    async def latest_priced(self, currency: str, count: int) -> list[InvoiceRecord]:
        """Return the last invoices of this currency that show a rate, newest first."""
        rows = await self._rows()
        with rows.lock:
            every = [*rows.invoices.values(), *rows.orphans.values()]
        priced = [each for each in every if each.currency == currency and None not in (each.cents, each.amount_msat)]
        return sorted(priced, key=lambda each: each.created_at, reverse=True)[:count]

    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        rows = await self._rows()
        with rows.lock:
            return rows.invoices.get(payment_hash)

    async def list_invoices(
        self, *, pending_only: bool = False, after: str | None = None, offset: int = 0
    ) -> list[InvoiceRecord]:
        """Return invoices in the order they were made."""
        rows = await self._rows()
        with rows.lock:
            found = _behind(after, rows.invoices, "invoice")
        if pending_only:
            found = [row for row in found if row.status is LightningInvoiceStatus.UNPAID]
        return found[offset : offset + LISTED]

    async def pending_invoices(
        self,
        *,
        expired_since: datetime | None = None,
        page: int = PAGE,  # noqa: ARG002 - all is here
    ) -> AsyncIterator[InvoiceRecord]:
        """Yield unpaid invoices, the next to expire first, then those that expired lately."""
        rows = await self._rows()
        with rows.lock:
            found = sorted(rows.pending(), key=lambda row: row.expires_at)
            if expired_since is not None:
                late = (row for row in rows.invoices.values() if row.status is LightningInvoiceStatus.EXPIRED)
                found += sorted((row for row in late if row.expires_at > expired_since), key=lambda row: row.expires_at)
        for row in found:
            yield row

    async def made_after(self, place: int | None) -> tuple[list[InvoiceRecord], int]:
        """Return unpaid invoices that were made after a place, and the place to go on from."""
        rows = await self._rows()
        with rows.lock:
            made = [] if place is None else [rows.invoices[payment_hash] for payment_hash in rows.made[place:]]
            return [row for row in made if row.status is LightningInvoiceStatus.UNPAID], len(rows.made)

    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int | None,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index."""
        rows = await self._rows()
        with rows.lock:
            record = rows.invoices.get(payment_hash)
            if record is None or record.status is LightningInvoiceStatus.PAID:
                return record
            rows.settled.append(payment_hash)
            paid = replace(
                record,
                status=LightningInvoiceStatus.PAID,
                settle_index=len(rows.settled),
                paid_at=paid_at,
                amount_received_msat=amount_received_msat,
                preimage=preimage,
            )
            rows.invoices[payment_hash] = paid
        rows.news.settled.wake()
        return paid

    async def complete_invoice(
        self,
        payment_hash: str,
        *,
        amount_received_msat: int | None = None,
        preimage: str | None = None,
        paid_at: datetime | None = None,
    ) -> InvoiceRecord | None:
        """Add to a paid invoice what was not known when it was settled."""
        rows = await self._rows()
        with rows.lock:
            record = rows.invoices.get(payment_hash)
            if record is None or record.status is not LightningInvoiceStatus.PAID:
                return record
            known = record.amount_received_msat
            record = rows.invoices[payment_hash] = replace(
                record,
                amount_received_msat=amount_received_msat if known is None else known,
                preimage=record.preimage or preimage,
                paid_at=paid_at or record.paid_at,
            )
        rows.news.settled.wake()
        return record

    async def incomplete_invoices(self, since: datetime, limit: int = PAGE) -> list[InvoiceRecord]:
        """Return paid invoices of which something is not known yet."""
        rows = await self._rows()
        with rows.lock:
            paid = [row for row in map(rows.invoices.__getitem__, rows.settled) if row.expires_at > since]
        lacking = (row for row in paid if row.amount_received_msat is None or row.preimage is None)
        return sorted(lacking, key=lambda row: row.expires_at, reverse=True)[:limit]

    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired."""
        rows = await self._rows()
        with rows.lock:
            record = rows.invoices.get(payment_hash)
            if record is not None and record.status is LightningInvoiceStatus.UNPAID:
                record = rows.invoices[payment_hash] = replace(record, status=LightningInvoiceStatus.EXPIRED)
            return record

    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this."""
        rows = await self._rows()
        with rows.lock:
            return [rows.invoices[payment_hash] for payment_hash in rows.settled[settle_index : settle_index + limit]]

    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far."""
        rows = await self._rows()
        with rows.lock:
            return len(rows.settled)

    # --- the budget of new invoices ---------------------------------------------------------------------------------

    async def spend_invoices(
        self, bucket: Bucket, limit: InvoiceBudget | None, now: datetime, count: int = 1
    ) -> BudgetWait | None:
        """Take invoices out of a budget of the account."""
        rows = await self._rows()
        with rows.lock:
            if limit is not None:
                rows.spent[bucket] = still_spent(rows.spent[bucket], limit, now)
            frees = None if limit is None else in_the_way(rows.spent[bucket], limit, count)
            wait = budget_wait(frees, rows.blocked_until.get(bucket), limit, now)
            if wait is None and limit is not None:
                rows.spent[bucket] += [now] * count
            return wait

    async def return_invoices(self, bucket: Bucket, taken: Sequence[datetime]) -> None:
        """Put back what was taken at these times and turned out to cost nothing."""
        rows = await self._rows()
        with rows.lock:
            for moment in taken:
                with contextlib.suppress(ValueError):  # it counts no more
                    rows.spent[bucket].remove(moment)

    async def block_invoices(self, bucket: Bucket, until: datetime) -> None:
        """Let nobody take anything out of a budget until then."""
        rows = await self._rows()
        with rows.lock:
            rows.blocked_until[bucket] = block_end(rows.blocked_until.get(bucket), until)

    # --- payments ---------------------------------------------------------------------------------------------------

    async def begin_payment(self, record: PaymentRecord) -> Begun | Counted:
        """Keep an attempt to pay, unless another one counts."""
        rows = await self._rows()
        with _BEGINNING, rows.lock:
            attempts = rows.payments.setdefault(record.payment_hash, [])
            decision = counting_attempt(attempts, record)
            if isinstance(decision, Begun):
                self._insist_on_one_payer(rows, record.payment_hash)
                if (replaced := replaced_attempt(attempts)) is not None:
                    attempts.remove(replaced)
                attempts.append(record)
            return decision

    async def insist_unknown(self, kind: HashOf, payment_hash: str) -> None:
        """Make sure that no other account knows this payment hash."""
        mine = await self._rows()
        for rows in self._kept:
            known = rows.invoices if kind == "invoice" else rows.payments
            if rows is not mine and known.get(payment_hash):
                raise KnownElsewhere(kind, rows.scope)

    async def update_payment(self, record: PaymentRecord, *, seen: PaymentRecord) -> PaymentRecord | None:
        """Keep what became of an attempt, if it is as the caller has seen it."""
        rows = await self._rows()
        with rows.lock:
            attempts = rows.payments.get(record.payment_hash, [])
            for place, known in enumerate(attempts):
                if known.attempt == record.attempt:
                    if is_as_seen(known, seen):
                        attempts[place] = record
                    return attempts[place]
            return None

    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt that tells most."""
        rows = await self._rows()
        with rows.lock:
            return telling_attempt(rows.payments.get(payment_hash, []))

    async def unresolved_payments(self) -> list[PaymentRecord]:
        """Return the payments of which it is not known how they ended."""
        rows = await self._rows()
        with rows.lock:
            return [row for row in rows.telling() if row.status not in DEFINITE]

    async def list_payments(
        self, *, include_pending: bool = False, after: str | None = None, offset: int = 0
    ) -> list[PaymentRecord]:
        """Return payments in the order they were first attempted."""
        rows = await self._rows()
        with rows.lock:
            found = _behind(after, {row.payment_hash: row for row in rows.telling()}, "payment")
        listed = [row for row in found if include_pending or row.status in DEFINITE]
        return listed[offset : offset + LISTED]

    def _insist_on_one_payer(self, mine: _Rows, payment_hash: str) -> None:
        for rows in self._kept:
            if rows is mine or payment_hash not in rows.payments:
                continue
            told = telling_attempt(rows.payments[payment_hash])
            if told is not None and told.status is not LightningPaymentStatus.FAILED:
                raise KnownElsewhere("payment", rows.scope)
