"""One invoice, made by the server and checked: whatever fails a check goes no further."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flash_driver.bolt11.payment_request import decode_reply
from flash_driver.flash_api.documents import (
    INVOICE_CREATE_BTC,
    INVOICE_CREATE_NO_AMOUNT,
    INVOICE_CREATE_ON_BEHALF,
    INVOICE_CREATE_USD,
)
from flash_driver.flash_api.outcomes import Refused
from flash_driver.flash_api.replies import read_created
from flash_driver.invoices.memo import cut_memo, readable_text
from flash_driver.journal.records import InvoiceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from connection_strings.lightning import CreateInvoiceParams
    from flash_driver.bolt11.payment_request import PaymentRequest
    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Document
    from flash_driver.invoices.budget import Budget
    from flash_driver.journal.journal import Journal
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.call_log import CallLog
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["CheckedInvoice", "InvoiceRequest", "WalletMoved"]

_MAX_MINUTES: Final = 24 * 60


class WalletMoved(Exception):
    """The server refused because the account has another wallet by now (flash-server.md 3.2).

    Attributes:
        wallet: The wallet that it has now.

    """

    def __init__(self, wallet: ChosenWallet) -> None:
        super().__init__("the account has another wallet by now")
        self.wallet = wallet


@dataclass(frozen=True, slots=True)
class CheckedInvoice:
    """An invoice that the server made and that passed its checks, over whatever amount.

    Attributes:
        request: Its BOLT11.
        wallet: The wallet that it credits.
        minor_units: What was asked for, in cents (satoshi for a BTC wallet); None when amountless.
        transport: Where it came from.

    """

    request: PaymentRequest
    wallet: ChosenWallet
    minor_units: Decimal | None
    transport: str

    def record(self, description: str) -> InvoiceRecord:
        """What the journal keeps of it, with the full description."""
        return InvoiceRecord(
            payment_hash=self.request.payment_hash,
            bolt11=self.request.bolt11,
            wallet_id=self.wallet.id,
            currency=self.wallet.currency,
            amount_msat=self.request.amount_msat,
            cents=self.minor_units,
            description=description,
            created_at=self.request.created_at,
            expires_at=self.request.expires_at,
        )


class InvoiceRequest:
    """Has the server make invoices, within the account's budget of them."""

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        journal: Journal,
        budget: Budget,
        clock: Callable[[], datetime],
    ) -> None:
        self._process = process
        self._router = router
        self._wallets = wallets
        self._journal = journal
        self._budget = budget
        self._clock = clock

    async def request(
        self,
        params: CreateInvoiceParams,
        wallet: ChosenWallet,
        minor_units: Decimal | None,
        deadline: Deadline,
        call_log: CallLog,
        *,
        budgeted: bool = False,
    ) -> CheckedInvoice:
        """Have one invoice made.

        Args:
            params: The terms.
            wallet: Which wallet it credits.
            minor_units: How much to ask for, in cents (satoshi for a BTC wallet); None for an amountless one.
            deadline: When it has to be over.
            call_log: Where to tell about it.
            budgeted: Whether it was taken out of the budget before.

        Raises:
            WalletMoved: It was refused, and the account has another wallet by now.
            RateLimited: The budget is used up, or the server says so.
            InvalidReply: What the server made is not what it was asked for; nobody gets to see it.
            LightningError: It was not made; see the kinds.

        """
        document, variables = _mutation(params, wallet, minor_units)
        if not budgeted:
            await self.take_budget([params])
        delivery = await self._router.perform(document(input=variables), deadline, call_log)
        if isinstance(delivery.outcome, Refused):
            await self._learn_from(delivery.outcome, wallet, deadline)
        created = read_created(delivery.data("creating the invoice"), document.field or "")
        request = decode_reply(created.bolt11)
        request.check(
            network=self._process.network or wallet.network,
            payment_hash=created.payment_hash,
            amountless=params.amountless,
            now=self._clock(),
        )
        return CheckedInvoice(request, wallet, minor_units, delivery.transport)

    async def take_budget(self, many: Sequence[CreateInvoiceParams]) -> None:
        """Take what invoices of these terms cost out of the account's budget, all or nothing.

        Raises:
            RateLimited: It has not so many left, or never has.

        """
        limited = sum(not params.amountless for params in many)  # the server does not limit others (flash-server.md 4)
        if limited:
            await self._budget.spend(self._journal, limited)

    async def _learn_from(self, refusal: Refused, wallet: ChosenWallet, deadline: Deadline) -> None:
        if refusal.retry_after is not None:
            await self._budget.block(self._journal, refusal.retry_after)
        elif refusal.code in (None, "INVALID_INPUT"):
            moved = await self._wallets.moved_from(wallet, deadline)
            if moved is not None:
                raise WalletMoved(moved)


def _mutation(
    params: CreateInvoiceParams, wallet: ChosenWallet, minor_units: Decimal | None
) -> tuple[Document, dict[str, object]]:
    """Return the mutation that makes such an invoice, and its input (flash-server.md 3.4)."""
    asked: dict[str, object] = {
        "memo": cut_memo(readable_text(params.description)),
        "expiresIn": min(_MAX_MINUTES, max(1, params.expiry // timedelta(minutes=1))),
    }
    if minor_units is None:
        return INVOICE_CREATE_NO_AMOUNT, {"walletId": wallet.id, **asked}
    if not wallet.currency.in_cents:
        return INVOICE_CREATE_BTC, {"walletId": wallet.id, "amount": int(minor_units), **asked}
    asked["amount"] = minor_units
    if params.committed_hash is not None:
        # The one mutation that takes a description hash; it calls the wallet by another name.
        asked["descriptionHash"] = params.committed_hash
        return INVOICE_CREATE_ON_BEHALF, {"recipientWalletId": wallet.id, **asked}
    return INVOICE_CREATE_USD, {"walletId": wallet.id, **asked}
