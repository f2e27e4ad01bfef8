"""One invoice, made by the server and checked: whatever fails a check goes no further."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from connection_strings.errors import LightningError, NotSupported, RateLimited
from flash_driver.bolt11.payment_request import decode_reply
from flash_driver.common.log import LogOnce, get_logger
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import (
    INVOICE_CREATE_BTC,
    INVOICE_CREATE_NO_AMOUNT,
    INVOICE_CREATE_ON_BEHALF,
    INVOICE_CREATE_USD,
)
from flash_driver.flash_api.outcomes import Completed, Refused
from flash_driver.flash_api.replies import read_created
from flash_driver.invoices.memo import cut_memo, readable_text
from flash_driver.journal.records import InvoiceRecord
from flash_driver.settings.values import DescriptionHashPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from connection_strings.lightning import CreateInvoiceParams
    from flash_driver.bolt11.payment_request import PaymentRequest
    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Document
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.invoices.budget import Budget, Points
    from flash_driver.settings.account import FlashSettings
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.call_log import CallLog
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["CheckedInvoice", "HashSupport", "InvoiceOrder", "InvoiceRequest", "WalletMoved"]

_MAX_MINUTES: Final = 24 * 60
_CLOCKS_APART: Final = timedelta(seconds=30)
"""An invoice has been signed a few seconds ago when it comes; what is more, clocks make."""

_log: Final = get_logger()


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

    def commits_to(self, wanted: str | None) -> bool:
        """Whether its BOLT11 commits to the hash that was asked for, if one was."""
        return wanted in (None, self.request.description_hash)

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


@dataclass(frozen=True, slots=True)
class InvoiceOrder:
    """One invoice that is wanted.

    Attributes:
        params: The terms.
        amount_msat: The amount in millisatoshi; None where the payer chooses it.
        committed_hash: What the BOLT11 is to commit to; None where it carries the description.
        tolerance_percent: How much more than asked it may be over.
        deadline: When the server has to have made it.
        call_log: Where its story is told.
        points: What its requests take their points from.
        in_hand: What was made for it and is neither handed out nor put aside, by payment hash.

    """

    params: CreateInvoiceParams
    amount_msat: int | None
    committed_hash: str | None
    tolerance_percent: Decimal
    deadline: Deadline
    call_log: CallLog
    points: Points
    in_hand: dict[str, CheckedInvoice] = field(default_factory=dict)


@dataclass(slots=True)
class HashSupport:
    """What was learned of a server and description hashes (LUD-06).

    Attributes:
        kept: Whether it puts the hash that it was asked for into its invoices; None until one has shown it.

    """

    kept: bool | None = None


class InvoiceRequest:
    """Has the server make invoices, within the account's budget of them.

    Args:
        settings: The account's connection string.
        process: What is set for the process.
        router: Carries the requests.
        wallets: Says which wallet the account has.
        budget: Is told when the server blocks the account.
        hashes: What was learned of description hashes.
        clock: The wall clock.
        too_late: Told of an invoice that came when its caller was gone.

    """

    def __init__(
        self,
        *,
        settings: FlashSettings,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        budget: Budget,
        hashes: HashSupport,
        clock: Callable[[], datetime],
        too_late: Callable[[InvoiceOrder, CheckedInvoice], None],
    ) -> None:
        self._hash_required = settings.description_hash is DescriptionHashPolicy.REQUIRE
        self._process = process
        self._router = router
        self._wallets = wallets
        self._budget = budget
        self._hashes = hashes
        self._clock = clock
        self._too_late = too_late
        self._tell_once = LogOnce(_log)

    async def request(self, order: InvoiceOrder, wallet: ChosenWallet, minor_units: Decimal | None) -> CheckedInvoice:
        """Have one invoice made.

        One mutation takes a description hash, and it counts against the limit that anybody can use up. So it is used
        only until an invoice has shown that this server leaves the hash out; from then on the account's own is.

        Args:
            order: What is wanted.
            wallet: Which wallet it credits.
            minor_units: How much to ask for, in cents (satoshi for a BTC wallet); None for an amountless one.

        Raises:
            WalletMoved: It was refused, and the account has another wallet by now.
            RateLimited: The budget is used up, or the server says so.
            NotSupported: A description hash is required, and this server leaves it out.
            InvalidReply: What the server made is not what it was asked for; nobody gets to see it.
            LightningError: It was not made; see the kinds.

        """
        wanted = order.committed_hash
        if wanted is None or minor_units is None or not wallet.currency.in_cents:
            return await self._make(order, wallet, minor_units)
        if self._hashes.kept is not False:
            try:
                checked = await self._make(order, wallet, minor_units, description_hash=wanted)
            except RateLimited:
                if self._hash_required:
                    raise
            else:
                self._learn_of_hashes(wanted, checked.request.description_hash)
                return checked
        elif self._hash_required:
            raise NotSupported("this Flash server leaves the description hash out of its invoices (LUD-06)")
        return await self._make(order, wallet, minor_units)

    async def _make(
        self,
        order: InvoiceOrder,
        wallet: ChosenWallet,
        minor_units: Decimal | None,
        *,
        description_hash: str | None = None,
    ) -> CheckedInvoice:
        document, variables = _mutation(order.params, wallet, minor_units, description_hash)
        operation = document(input=variables)

        def check(data: Mapping[str, Any], transport: str = "") -> CheckedInvoice:
            created = read_created(data, document.field or "")
            request = decode_reply(created.bolt11)
            request.check(
                network=self._process.network or wallet.network,
                payment_hash=created.payment_hash,
                amountless=order.amount_msat is None,
            )
            return CheckedInvoice(request, wallet, minor_units, transport)

        def take_late(evidence: Evidence) -> None:
            outcome = classify(operation.document, evidence)
            if isinstance(outcome, Completed):
                with contextlib.suppress(LightningError):  # what fails a check is nobody's, late or not
                    self._too_late(order, check(outcome.data))

        delivery = await self._router.perform(operation, order.deadline, order.call_log, take_late, order.points)
        if isinstance(delivery.outcome, Refused):
            await self._learn_from(delivery.outcome, delivery.document or document, wallet, order.deadline)
        checked = check(delivery.data("creating the invoice"), delivery.transport)
        order.in_hand[checked.request.payment_hash] = checked
        self._compare_clocks(checked.request.created_at)
        return checked

    def _compare_clocks(self, signed_at: datetime) -> None:
        """Warn where this machine's clock is far from the custodian's: hosts show times by it."""
        ahead = self._clock() - signed_at
        if abs(ahead) > _CLOCKS_APART:
            self._tell_once(
                "this machine's clock is not the server's; set it (NTP)",
                it_is="ahead" if ahead > timedelta(0) else "behind",
            )

    def _learn_of_hashes(self, wanted: str, found: str | None) -> None:
        """Take note of whether this server keeps hashes; another one than was asked for shows neither."""
        if found in (wanted, None):
            self._hashes.kept = found == wanted

    async def _learn_from(self, refusal: Refused, document: Document, wallet: ChosenWallet, deadline: Deadline) -> None:
        if refusal.retry_after is not None:
            blocked = await self._budget.block(document, refusal.retry_after)
            if blocked is not None:
                raise blocked
        elif refusal.code in (None, "INVALID_INPUT"):
            moved = await self._wallets.moved_from(wallet.id, deadline)
            if moved is not None:
                raise WalletMoved(moved)


def _mutation(
    params: CreateInvoiceParams, wallet: ChosenWallet, minor_units: Decimal | None, description_hash: str | None
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
    if description_hash is None:
        return INVOICE_CREATE_USD, {"walletId": wallet.id, **asked}
    # The one mutation that takes a description hash calls the wallet by another name.
    return INVOICE_CREATE_ON_BEHALF, {"recipientWalletId": wallet.id, "descriptionHash": description_hash, **asked}
