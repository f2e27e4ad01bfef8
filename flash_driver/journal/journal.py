"""What every journal can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Literal

from flash_driver.journal.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from flash_driver.journal.attempt_rules import Begun, Counted
    from flash_driver.journal.budget_rules import Bucket, BudgetWait, InvoiceBudget
    from flash_driver.journal.owner import JournalAccount, JournalOwner
    from flash_driver.journal.records import InvoiceRecord, PaymentRecord
    from flash_driver.journal.wakeup import News

__all__ = ["LISTED", "PAGE", "HashOf", "Journal"]

HashOf = Literal["invoice", "payment"]
"""What a payment hash is looked up as."""

LISTED: Final = 1000
"""How many rows a list has at the most; `after` the last of them the next list begins."""

PAGE: Final = 500
"""How many rows are read at once where there may be very many."""


class Journal(ABC):
    """Remembers the invoices and payments of one account.

    Every method either happens whole or raises; what it returned has been kept as long as this kind of journal keeps
    anything. Besides its own errors each may raise what looking up the account raises, as long as that is not known.

    Args:
        owner: Whose account it is.

    """

    def __init__(self, owner: JournalOwner) -> None:
        self.owner = owner

    @property
    def id(self) -> str:
        """What tells this journal from any other, so that a cursor of one is not used on another."""
        return self._known.journal_id

    @property
    def news(self) -> News:
        """Wakes who waits for an invoice to be made or settled, by whatever process."""
        return self._known.news

    @property
    def _known(self) -> JournalAccount:
        """Its account, which each of its methods looks up first.

        Raises:
            JournalError: None of them was awaited yet.

        """
        if self.owner.known is None:
            raise JournalError("the journal", "is not open yet", "await one of its methods first")
        return self.owner.known

    @abstractmethod
    async def add_invoice(self, record: InvoiceRecord) -> bool:
        """Keep a new invoice, before anybody sees it; an orphan becomes the host's.

        Returns:
            Whether it was kept: False when the host has an invoice with this payment hash already, which stays.

        """

    @abstractmethod
    async def add_orphan(self, record: InvoiceRecord) -> None:
        """Keep an invoice that the server made and the host will not get: it is no invoice of the host's.

        It is never found, listed, settled or expired as one; `list_orphans` alone tells of it.
        """

    @abstractmethod
    async def list_orphans(self) -> list[InvoiceRecord]:
        """Return the orphans in the order they were made."""

    @abstractmethod
    async def latest_priced(self, currency: str, count: int) -> list[InvoiceRecord]:
        """Return the last invoices of this currency that show a rate, newest first.

        Those are all with cents and an amount, orphans too.
        """

    @abstractmethod
    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""

    @abstractmethod
    async def list_invoices(
        self, *, pending_only: bool = False, after: str | None = None, offset: int = 0
    ) -> list[InvoiceRecord]:
        """Return invoices in the order they were made, `LISTED` at the most.

        No invoice that is made later comes to stand before one that was returned.

        Args:
            pending_only: Leaves out those that are not unpaid.
            after: The payment hash of an invoice: those made after it are returned.
            offset: How many are passed over, one by one.

        Raises:
            InvalidRequest: There is no invoice with the payment hash `after`.

        """

    @abstractmethod
    def pending_invoices(
        self, *, expired_since: datetime | None = None, page: int = PAGE
    ) -> AsyncIterator[InvoiceRecord]:
        """Yield unpaid invoices, the next to expire first, reading a page at a time.

        One that is settled or made meanwhile may or may not be among them.

        Args:
            expired_since: Yields after them what is called expired and stopped being payable after this moment.
            page: How many are read at once.

        """

    @abstractmethod
    async def made_after(self, place: int | None) -> tuple[list[InvoiceRecord], int]:
        """Return unpaid invoices that were made after a place, each of them once.

        Args:
            place: What the last call returned; None to begin here, with no invoice.

        Returns:
            The invoices in the order they were made, and the place to go on from.

        """

    @abstractmethod
    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int | None,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index; None when there is no such invoice.

        Paid is for good, whatever it was called before: a second call changes nothing and returns what the first one
        made. Where the amount is not known yet (None), `complete_invoice` adds it.
        """

    @abstractmethod
    async def complete_invoice(
        self,
        payment_hash: str,
        *,
        amount_received_msat: int | None = None,
        preimage: str | None = None,
        paid_at: datetime | None = None,
    ) -> InvoiceRecord | None:
        """Add to a paid invoice what was not known when it was settled; what is known stays as it is.

        A `paid_at` takes the place of the time at which it was found paid.
        """

    @abstractmethod
    async def incomplete_invoices(self, since: datetime, limit: int = PAGE) -> list[InvoiceRecord]:
        """Return paid invoices without amount received or preimage that stopped being payable after a moment.

        The latest to expire come first.
        """

    @abstractmethod
    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired; a paid one stays paid."""

    @abstractmethod
    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this, in their order."""

    @abstractmethod
    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far, zero for none."""

    @abstractmethod
    async def spend_invoices(
        self, bucket: Bucket, limit: InvoiceBudget | None, now: datetime, count: int = 1
    ) -> BudgetWait | None:
        """Take invoices out of a budget of the account: a sliding window shared by all processes on this journal.

        Args:
            bucket: Whose limit they count against.
            limit: The budget, None for none.
            now: The time.
            count: How many, as many as the budget has at the most.

        Returns:
            None when all were taken; else none was, and this is what they have to wait for.

        """

    @abstractmethod
    async def return_invoices(self, bucket: Bucket, taken: Sequence[datetime]) -> None:
        """Put back what was taken at these times and cost nothing in the end; what others took since still counts."""

    @abstractmethod
    async def block_invoices(self, bucket: Bucket, until: datetime) -> None:
        """Let nobody take anything out of a budget until then: the server itself has blocked it.

        A block that lasts longer is not shortened.
        """

    @abstractmethod
    async def begin_payment(self, record: PaymentRecord) -> Begun | Counted:
        """Keep an attempt to pay before a byte of it is sent, unless another attempt of this payment hash counts.

        The row of an attempt that failed before anything was sent is used again.

        Raises:
            KnownElsewhere: An attempt of another account at this payment has not definitely failed.

        """

    @abstractmethod
    async def insist_unknown(self, kind: HashOf, payment_hash: str) -> None:
        """Make sure that no other account of this store knows an invoice, or a payment, of this hash.

        Raises:
            KnownElsewhere: One does.

        """

    @abstractmethod
    async def update_payment(self, record: PaymentRecord, *, seen: PaymentRecord) -> PaymentRecord | None:
        """Keep what became of an attempt, if nobody has decided anything about it since (`is_as_seen`).

        Args:
            record: What is to be kept.
            seen: The same attempt as the caller knows it.

        Returns:
            The attempt as it is kept now, whichever call wrote it; None when there is none with this number.

        """

    @abstractmethod
    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt for this payment hash that tells most.

        That is a complete one, else one that may still be under way, else the latest.
        """

    @abstractmethod
    async def unresolved_payments(self) -> list[PaymentRecord]:
        """Return the payments of which it is not known how they ended, in the order they were first attempted."""

    @abstractmethod
    async def list_payments(
        self, *, include_pending: bool = False, after: str | None = None, offset: int = 0
    ) -> list[PaymentRecord]:
        """Return each payment once, as `find_payment` does, in the order they were first attempted.

        Args:
            include_pending: Returns those as well of which it is not known how they ended.
            after: The payment hash of a payment: those first attempted after it are returned.
            offset: How many are passed over, one by one.

        Raises:
            InvalidRequest: There is no payment with the payment hash `after`.

        """
