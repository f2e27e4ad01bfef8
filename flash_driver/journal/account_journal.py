"""The journal of one account, which finds out whose it is when it is first used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from flash_driver.common.cancelling import being_cancelled
from flash_driver.common.log import get_logger
from flash_driver.journal.errors import JournalError
from flash_driver.journal.journal import PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime, timedelta

    from flash_driver.journal.budget_rules import InvoiceBudget
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord, PaymentRecord
    from flash_driver.journal.store import JournalStore
    from flash_driver.journal.wakeup import Wakeup

__all__ = ["AccountJournal"]

_log: Final = get_logger(part="journal")


class AccountJournal:
    """A `Journal` for the account that a credential opens.

    Besides its own errors each method may raise what `look_up` raises, as long as the account is not known. `id` and
    `wakeup` are there from the first awaited method on, and stay those of the old journal until the next method
    when the server names another account.

    Args:
        store: Where the journals of all accounts are.
        fingerprint: What tells the credential from others.
        look_up: Asks the server whose account the credential opens, and tells `belongs_to`.

    Attributes:
        begins_at: The settle index that the present journal stood at when it took the place of another account's.

    """

    def __init__(self, store: JournalStore, fingerprint: str, look_up: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._fingerprint = fingerprint
        self._look_up = look_up
        self._scope: str | None = None
        self._opening: asyncio.Task[Journal] | None = None
        self._opened: Journal | None = None
        self._outdated = True
        self.begins_at = 0

    def belongs_to(self, scope: str) -> None:
        """Take note of what the server said whose account this is."""
        if scope != self._scope:
            self._scope, self._outdated = scope, True

    async def open(self) -> Journal:
        """Return the account's journal in its store; all who ask while it is being opened share the attempt.

        So nobody waits for another's attempt and then for one of his own.

        Raises:
            JournalError: The journal can't be used now.
            LightningError: The account can't be looked up now.

        """
        if self._opened is not None and not self._outdated:
            return self._opened
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._find(), name="flash-driver journal opening")
            # Whoever asked may have gone by the time it fails; asyncio complains of errors that nobody looked at.
            self._opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled() and not being_cancelled():
                raise JournalError("the journal", "was closed", "ask again") from None
            raise

    async def _find(self) -> Journal:
        journal = await self._open()
        if journal is None:
            await self._look_up()
            journal = await self._open()
        if journal is None:
            raise JournalError("the journal", "can't be opened", "the server does not tell whose account this is")
        return journal

    async def _open(self) -> Journal | None:
        """Open the journal of the account as it is known; again when the server told meanwhile."""
        while self._opened is None or self._outdated:
            scope = self._scope
            journal = await self._store.open(self._fingerprint, scope)
            if scope == self._scope:
                if journal is None:
                    return None
                await self._replace_by(journal)
        return self._opened

    async def _replace_by(self, journal: Journal) -> None:
        """Use this journal from now on; whoever waits for the old one's wakeup has to find out."""
        scope, old = self._scope, self._opened
        if old is not None and old.id != journal.id:
            _log.warning("the token opens another account now; its invoices and payments are kept apart")
            self.begins_at = await journal.last_settle_index()
        self._opened, self._outdated = journal, scope != self._scope
        if old is not None:
            old.wakeup.ring()

    @property
    def id(self) -> str:
        """What tells this journal from any other."""
        return self._now_open.id

    @property
    def wakeup(self) -> Wakeup:
        """Rings when an invoice was settled."""
        return self._now_open.wakeup

    @property
    def _now_open(self) -> Journal:
        if self._opened is None:
            raise JournalError("the journal", "is not open yet", "await one of its methods first")
        return self._opened

    async def add_invoice(self, record: InvoiceRecord) -> None:
        """Keep a new invoice."""
        await (await self.open()).add_invoice(record)

    async def add_orphan(self, record: InvoiceRecord) -> None:
        """Keep an invoice that the host will not get."""
        await (await self.open()).add_orphan(record)

    async def list_orphans(self) -> list[InvoiceRecord]:
        """Return the orphans."""
        return await (await self.open()).list_orphans()

    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        return await (await self.open()).find_invoice(payment_hash)

    async def list_invoices(self, *, pending_only: bool = False, offset: int = 0) -> list[InvoiceRecord]:
        """Return invoices in the order they were made."""
        return await (await self.open()).list_invoices(pending_only=pending_only, offset=offset)

    async def pending_invoices(self, *, page: int = PAGE) -> AsyncIterator[InvoiceRecord]:
        """Yield unpaid invoices, the next to expire first."""
        async for record in (await self.open()).pending_invoices(page=page):
            yield record

    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index."""
        return await (await self.open()).settle_invoice(
            payment_hash, paid_at=paid_at, amount_received_msat=amount_received_msat, preimage=preimage
        )

    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired."""
        return await (await self.open()).expire_invoice(payment_hash)

    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this."""
        return await (await self.open()).settled_after(settle_index, limit)

    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far."""
        return await (await self.open()).last_settle_index()

    async def spend_invoices(self, limit: InvoiceBudget | None, now: datetime, count: int = 1) -> timedelta | None:
        """Take invoices out of the account's budget."""
        return await (await self.open()).spend_invoices(limit, now, count)

    async def block_invoices(self, until: datetime) -> None:
        """Let nobody take anything out of the budget until then."""
        await (await self.open()).block_invoices(until)

    async def begin_payment(self, record: PaymentRecord) -> PaymentRecord:
        """Keep an attempt to pay, unless one counts already."""
        return await (await self.open()).begin_payment(record)

    async def update_payment(self, record: PaymentRecord) -> None:
        """Keep what became of an attempt."""
        await (await self.open()).update_payment(record)

    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt that tells most."""
        return await (await self.open()).find_payment(payment_hash)

    async def payment_attempts(self, payment_hash: str) -> list[PaymentRecord]:
        """Return every attempt for this payment hash."""
        return await (await self.open()).payment_attempts(payment_hash)

    async def unresolved_payments(self) -> list[PaymentRecord]:
        """Return the payments of which it is not known how they ended."""
        return await (await self.open()).unresolved_payments()

    async def list_payments(self, *, include_pending: bool = False, offset: int = 0) -> list[PaymentRecord]:
        """Return payments in the order they were first attempted."""
        return await (await self.open()).list_payments(include_pending=include_pending, offset=offset)

    async def aclose(self) -> None:
        """Keep everything; the store closes when its last user goes."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
