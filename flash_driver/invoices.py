"""Invoices: created over the right amount, looked up by payment hash."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from connection_strings.errors import AmountMismatch, InvalidRequest, LightningError, NotSupported
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.deadline import Deadline
from flash_driver.journal.base import InvoiceRecord
from flash_driver.log import get_logger
from flash_driver.memo import cut_memo, readable_text
from flash_driver.operations import (
    INVOICE_CREATE_BTC,
    INVOICE_CREATE_NO_AMOUNT,
    INVOICE_CREATE_ON_BEHALF,
    INVOICE_CREATE_USD,
    INVOICE_STATUS,
)
from flash_driver.outcome import Refused
from flash_driver.payment_request import PAYMENT_HASH, PaymentRequest, decode_reply
from flash_driver.replies import InvoiceStatus, read_created, read_invoice_status
from flash_driver.settings import DescriptionHashPolicy
from flash_driver.transports.trail import Trail
from flash_driver.verdict import data_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connection_strings.lightning import CreateInvoiceParams
    from flash_driver.budget import Budget
    from flash_driver.journal.base import Journal
    from flash_driver.operations import Document
    from flash_driver.rates import RateBook
    from flash_driver.receipts import Receipts
    from flash_driver.replies import Currency
    from flash_driver.settings import FlashSettings, ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import ChosenWallet, WalletDirectory

__all__ = ["CREATE_SECONDS", "Invoices"]

CREATE_SECONDS: Final = 4.9
"""A host gives up after 5 s (flash-api.md 7.4): wallet, fallbacks and corrections together stay below."""

_MAX_MINOR_UNITS: Final = Decimal(10) ** 13
_LEANS: Final = (Decimal("0.25"), Decimal("-0.25"), Decimal("0.5"))
"""Where to aim, in steps of the custodian's rounding, at the first, second and third request."""
_MSAT_PER_SAT: Final = 1000
_MAX_MINUTES: Final = 24 * 60

_log: Final = get_logger()


@dataclass(frozen=True, slots=True)
class _Made:
    """An invoice that the server made and that passed its checks, over whatever amount."""

    request: PaymentRequest
    wallet: ChosenWallet
    minor_units: Decimal | None
    transport: str


class Invoices:
    """Creates invoices and looks them up; every one is journalled before it is handed out."""

    def __init__(
        self,
        *,
        settings: FlashSettings,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        rates: Callable[[Currency], RateBook],
        receipts: Receipts,
        journal: Journal,
        budget: Budget,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._process = process
        self._router = router
        self._wallets = wallets
        self._rates = rates
        self._receipts = receipts
        self._journal = journal
        self._budget = budget
        self._clock = clock

    # --- create -----------------------------------------------------------------------------------------------------

    async def create(self, params: CreateInvoiceParams) -> InvoiceRecord:
        """Create one invoice within the host's time limit.

        Raises:
            AmountMismatch: The server makes none over this amount.
            LightningError: It was not created; see the kinds.

        """
        deadline = Deadline.after(CREATE_SECONDS)
        amount = "any" if params.amountless else str(params.amount)
        trail = Trail(_log.bind(amount=amount), "creating invoice", "invoice created")
        wallet = await self._wallets.choose(deadline, trail)
        if params.amountless or not wallet.currency.in_cents:
            made = await self._make(params, wallet, self._whole_sats(params), deadline, trail)
            self._require_amount(params, made)
        else:
            made = await self._make_over_amount(params, wallet, deadline, trail)
        self._check_description_hash(params, made.request)
        record = InvoiceRecord(
            payment_hash=made.request.payment_hash,
            bolt11=made.request.bolt11,
            wallet_id=made.wallet.id,
            currency=made.wallet.currency,
            amount_msat=made.request.amount_msat,
            cents=made.minor_units,
            description=params.description,
            created_at=made.request.created_at,
            expires_at=made.request.expires_at,
        )
        await self._journal.add_invoice(record)
        trail.done(made.transport, payment_hash=record.payment_hash)
        return record

    async def create_many(self, many: Sequence[CreateInvoiceParams]) -> list[InvoiceRecord]:
        """Create invoices side by side, in the order asked for.

        The first goes ahead alone, so that the others can use what it teaches of the account and the rate.

        Raises:
            LightningError: One was not created; those that were are listed by `list_invoices`, nothing is lost.

        """
        if not many:
            return []
        first = await self.create(many[0])
        rest = await asyncio.gather(*(self.create(params) for params in many[1:]), return_exceptions=True)
        failures = [result for result in rest if isinstance(result, BaseException)]
        if failures:
            failures[0].add_note(f"{len(many) - len(failures)} of {len(many)} invoices were created and are journalled")
            raise failures[0]
        return [first, *(result for result in rest if isinstance(result, InvoiceRecord))]

    async def _make_over_amount(
        self, params: CreateInvoiceParams, wallet: ChosenWallet, deadline: Deadline, trail: Trail
    ) -> _Made:
        """Ask in cents until the custodian's answer is the amount wanted, three times at most."""
        asked = params.amount.msat if params.amount is not None else 0
        had: list[int] = []
        for lean in _LEANS:
            rates = self._rates(wallet.currency)
            cents = rates.quote(asked, lean).cents
            if cents <= 0:
                raise InvalidRequest("amount", "is less than the smallest fraction of a cent that Flash can charge")
            if cents > _MAX_MINOR_UNITS:
                raise InvalidRequest("amount", "is more than Flash can put into an invoice")
            made = await self._make(params, wallet, cents, deadline, trail)
            wallet = made.wallet
            got = made.request.amount_msat or 0
            self._rates(wallet.currency).learn(cents, got)
            if self._acceptable(asked, got, exact=params.description_hash_only):
                return made
            had.append(got)
            _log.info("amount differs, asking again", asked_msat=asked, invoice_msat=got, attempt=len(had))
        raise AmountMismatch(asked, had)

    def _acceptable(self, asked_msat: int, got_msat: int, *, exact: bool) -> bool:
        """An LNURL wallet refuses any difference (LUD-06); others are never asked for less, nor for much more."""
        if exact:
            return got_msat == asked_msat
        most = asked_msat + asked_msat * self._settings.amount_tolerance / 100
        return asked_msat <= got_msat <= most

    async def _make(
        self,
        params: CreateInvoiceParams,
        wallet: ChosenWallet,
        minor_units: Decimal | None,
        deadline: Deadline,
        trail: Trail,
    ) -> _Made:
        """Have the server make one invoice and check what it made, following the account to a new wallet once."""
        document, answer_to = self._mutation(params, wallet)
        variables: dict[str, object] = {
            answer_to: wallet.id,
            "memo": cut_memo(readable_text(params.description)),
            "expiresIn": min(_MAX_MINUTES, max(1, params.expiry // timedelta(minutes=1))),
        }
        if minor_units is not None:
            variables["amount"] = minor_units if wallet.currency.in_cents else int(minor_units)
        if document is INVOICE_CREATE_ON_BEHALF:
            variables["descriptionHash"] = _sha256(params.description)
        self._budget.spend()
        delivery = await self._router.perform(document(input=variables), deadline, trail)
        outcome = delivery.outcome
        if isinstance(outcome, Refused):
            if outcome.retry_after is not None:
                self._budget.block(outcome.retry_after)
            elif outcome.code in (None, "INVALID_INPUT"):
                moved = await self._wallets.moved_from(wallet, deadline)
                if moved is not None and moved.currency == wallet.currency:
                    return await self._make(params, moved, minor_units, deadline, trail)
        created = read_created(data_of(delivery, "creating the invoice"), document.field or "")
        request = decode_reply(created.bolt11)
        request.check(
            network=self._process.network or wallet.network,
            payment_hash=created.payment_hash,
            amountless=params.amountless,
            now=self._clock(),
        )
        return _Made(request, wallet, minor_units, delivery.transport)

    @staticmethod
    def _mutation(params: CreateInvoiceParams, wallet: ChosenWallet) -> tuple[Document, str]:
        """Return the mutation, and the name it has for the wallet."""
        if params.amountless:
            return INVOICE_CREATE_NO_AMOUNT, "walletId"
        if not wallet.currency.in_cents:
            return INVOICE_CREATE_BTC, "walletId"
        if params.description_hash_only:
            return INVOICE_CREATE_ON_BEHALF, "recipientWalletId"
        return INVOICE_CREATE_USD, "walletId"

    @staticmethod
    def _whole_sats(params: CreateInvoiceParams) -> Decimal | None:
        """What a BTC wallet is asked for: whole satoshi, rounded up."""
        if params.amount is None or params.amountless:
            return None
        return Decimal(-(-params.amount.msat // _MSAT_PER_SAT))

    def _require_amount(self, params: CreateInvoiceParams, made: _Made) -> None:
        if params.amount is None or params.amountless:
            return
        got = made.request.amount_msat or 0
        if not self._acceptable(params.amount.msat, got, exact=params.description_hash_only):
            raise AmountMismatch(params.amount.msat, [got])

    def _check_description_hash(self, params: CreateInvoiceParams, request: PaymentRequest) -> None:
        if not params.description_hash_only or request.description_hash == _sha256(params.description):
            return
        if self._settings.description_hash is DescriptionHashPolicy.REQUIRE:
            raise NotSupported("this Flash server leaves the description hash out of its invoices (LUD-06)")
        _log.warning("the invoice carries no description hash", payment_hash=request.payment_hash)

    # --- look up ----------------------------------------------------------------------------------------------------

    async def find(self, invoice_id: str, deadline: Deadline) -> InvoiceRecord | None:
        """Look an invoice up by its payment hash; None only when this driver never made it.

        Raises:
            LightningError: It can't be found out now how it stands.

        """
        if PAYMENT_HASH.fullmatch(invoice_id) is None:
            return None
        record = await self._journal.find_invoice(invoice_id.lower())
        if record is None or record.status is not LightningInvoiceStatus.UNPAID:
            return record
        return await self.refresh(record, deadline)

    async def refresh(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        """Ask the server how an invoice stands, and keep what it says.

        EXPIRED is believed only after the BOLT11's own expiry plus the grace time (flash-api.md 3.5), and a word that
        is not known never.

        Raises:
            LightningError: The server can't be asked, or does not say.

        """
        operation = INVOICE_STATUS(input={"paymentRequest": record.bolt11})
        data = data_of(await self._router.perform(operation, deadline), "looking up the invoice")
        match read_invoice_status(data):
            case InvoiceStatus.PAID:
                return await self.settle(record, deadline)
            case InvoiceStatus.EXPIRED if self._clock() >= self.final_at(record):
                return await self._journal.expire_invoice(record.payment_hash) or record
            case InvoiceStatus.UNKNOWN:
                _log.warning("the server answered with a status that is not known", payment_hash=record.payment_hash)
        return record

    async def settle(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        """Keep that the server said PAID for this very payment hash.

        Raises:
            LightningError: The amount of an amountless invoice can't be found out now; it stays unpaid until it can.

        """
        received, preimage = record.amount_msat, None
        if received is None:
            receipt = await self._receipts.find(record, deadline)
            received, preimage = receipt.msat, receipt.preimage
        settled = await self._journal.settle_invoice(
            record.payment_hash, paid_at=self._clock(), amount_received_msat=received, preimage=preimage
        )
        if settled is None:
            raise LightningError("the journal has lost an invoice that it had")
        if settled.paid_at is not None and record.status is LightningInvoiceStatus.UNPAID:
            _log.info("invoice settled", payment_hash=settled.payment_hash, settle_index=settled.settle_index)
        return settled

    def final_at(self, record: InvoiceRecord) -> datetime:
        """When the server's word EXPIRED may be believed."""
        return record.expires_at + timedelta(seconds=self._process.expiry_grace_seconds)


def _sha256(description: str) -> str:
    return hashlib.sha256(description.encode()).hexdigest()
