"""Creating invoices over the right amount, each journalled before it is handed out."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from connection_strings.errors import (
    AmountMismatch,
    BackendUnavailable,
    InvalidReply,
    InvalidRequest,
    LightningError,
    NotSupported,
    RequestRefused,
)
from flash_driver.common.clocks import utc_now
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import TaskSet
from flash_driver.flash_api.documents import PRICE
from flash_driver.flash_api.replies import read_price
from flash_driver.invoices.request import CheckedInvoice, InvoiceOrder, InvoiceRequest, WalletMoved
from flash_driver.money.amount_search import AmountSearch
from flash_driver.money.server_price import RateUnknown
from flash_driver.settings.values import DescriptionHashPolicy
from flash_driver.transports.call_log import SILENT, CallLog
from flash_driver.wallets import ChosenWallet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from connection_strings.lightning import CreateInvoiceParams
    from flash_driver.flash_api.replies import Currency
    from flash_driver.invoices.budget import Budget, Points
    from flash_driver.invoices.request import HashSupport
    from flash_driver.invoices.server_clock import ServerClock
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.knowledge import Knowledge
    from flash_driver.money.rate_book import RateBook
    from flash_driver.settings.account import FlashSettings
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router
    from flash_driver.wallets import WalletDirectory

__all__ = ["CREATE_SECONDS", "InvoiceCreation"]

CREATE_SECONDS: Final = 4.9
"""A host gives up after 5 s (flash-server.md 7.4): wallet, fallbacks and corrections together stay below."""

_SERVER_SECONDS: Final = 4.8
"""How much of that the server may use: the journal is written last, which takes less than 0.1 s on a busy machine."""
_LAST_SECONDS: Final = 1.0
"""How long a close waits for the journal to keep invoices that came too late."""
_FRESH: Final = timedelta(0)
"""How old the wallet of an amountless invoice may be: after a move the server routes no such invoice to the new one."""
_MSAT_PER_SAT: Final = 1000
_SEEDS: Final = 16
"""How many invoices in the journal a new process learns the rate from."""

_log: Final = get_logger()


class InvoiceCreation:
    """Creates invoices; every one is journalled before it is handed out."""

    def __init__(
        self,
        *,
        settings: FlashSettings,
        process: ProcessSettings,
        router: Router,
        wallets: WalletDirectory,
        knowledge: Knowledge,
        rates: Callable[[Currency], RateBook],
        journal: Journal,
        budget: Budget,
        server_clock: ServerClock,
        hashes: HashSupport,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._router = router
        self._wallets = wallets
        self._knowledge = knowledge
        self._rates = rates
        self._journal = journal
        self._budget = budget
        self._server_clock = server_clock
        self._invoice_request = InvoiceRequest(
            settings=settings,
            process=process,
            router=router,
            wallets=wallets,
            budget=budget,
            hashes=hashes,
            clock=clock,
            too_late=self._take_late,
        )
        self._late: TaskSet | None = TaskSet()

    async def aclose(self) -> None:
        """Take no late answers any more; those that have come are kept."""
        late, self._late = self._late, None
        if late is not None:
            await late.aclose(patience=_LAST_SECONDS)

    async def create(self, params: CreateInvoiceParams) -> InvoiceRecord:
        """Create one invoice within the host's time limit.

        Raises:
            InvalidRequest: The terms make no sense to the server.
            AmountMismatch: The server makes none over this amount.
            RateUnknown: Neither the server's price nor an invoice has told the rate.
            LightningError: It was not created; see the kinds.

        """
        _check(params)
        async with _in_time() as deadline, self._budget.points() as points:
            return await self._create(self._order(params, deadline, points))

    async def create_many(self, many: Sequence[CreateInvoiceParams]) -> list[InvoiceRecord]:
        """Create invoices side by side, in the order asked for, if the budget has enough for all.

        Where the rate is not known from invoices yet, the first one goes ahead alone, so that the others can use what
        it teaches.

        Raises:
            InvalidRequest: One's terms make no sense; none was created.
            RateLimited: The budget has not as many left, or never has; none was created.
            LightningError: One was not created; those that were are listed by `list_invoices`, nothing is lost.

        """
        for params in many:
            _check(params)
        if not many:
            return []
        limited = sum(not params.amountless for params in many)  # the server does not limit others (flash-server.md 4)
        async with _in_time() as deadline:
            learned = await self._has_learned(deadline)  # asked first: an account that can't be looked up costs nothing
            async with self._budget.points(limited) as points:
                ahead = [] if learned else [await self._create(self._order(many[0], deadline, points))]
                orders = [self._order(params, deadline, points) for params in many[len(ahead) :]]
                rest = await asyncio.gather(*(self._create(order) for order in orders), return_exceptions=True)
        failures = [result for result in rest if isinstance(result, BaseException)]
        if failures:
            failures[0].add_note(f"{len(many) - len(failures)} of {len(many)} invoices were created and are journalled")
            raise failures[0]
        return [*ahead, *(result for result in rest if not isinstance(result, BaseException))]

    async def _has_learned(self, deadline: Deadline) -> bool:
        """Whether invoices of the wallet in use have taught its rate."""
        wallet = await self._wallets.choose(deadline)
        return not wallet.currency.in_cents or self._rates(wallet.currency).learned

    def _order(self, params: CreateInvoiceParams, deadline: Deadline, points: Points) -> InvoiceOrder:
        amount, committed_hash = None if params.amountless else params.amount, params.committed_hash
        tolerance, told = params.amount_tolerance, "any" if amount is None else str(amount)
        return InvoiceOrder(
            params=params,
            amount_msat=None if amount is None else amount.msat,
            committed_hash=committed_hash,
            # An LNURL wallet refuses any difference (LUD-06); others are never asked for less, nor for much more.
            tolerance_percent=self._settings.amount_tolerance if tolerance is None else tolerance,
            deadline=deadline,
            call_log=CallLog(_log.bind(amount=told), "creating invoice", "invoice created"),
            points=points,
        )

    async def _create(self, order: InvoiceOrder) -> InvoiceRecord:
        params, call_log = order.params, order.call_log
        await self._knowledge.recall()
        try:
            checked = await self._choose_and_issue(order)
        except BaseException:
            for left in order.in_hand.values():
                self._take_late(order, left)
            raise
        if not checked.commits_to(order.committed_hash):
            _log.warning("the invoice carries no description hash", payment_hash=checked.request.payment_hash)
        record = checked.record(params.description)
        if not await self._journal.add_invoice(record):
            _log.error("the server made an invoice that was handed out before", payment_hash=record.payment_hash)
            raise InvalidReply("the server made an invoice that was handed out before: one payment is one order's")
        self._server_clock.heard_from_custodian(checked.request.created_at)
        call_log.done(checked.transport, payment_hash=record.payment_hash)
        await self._knowledge.keep(order.deadline)
        return record

    async def _choose_and_issue(self, order: InvoiceOrder) -> CheckedInvoice:
        believed = await self._believed_wallet(order)
        if believed is not None:
            return await self._issue_ahead(order, believed)
        oldest = _FRESH if order.amount_msat is None else None
        wallet = await self._wallets.choose(order.deadline, order.call_log, at_most_old=oldest)
        return await self._issue_there(order, wallet)

    async def _believed_wallet(self, order: InvoiceOrder) -> ChosenWallet | None:
        """Return the wallet that an earlier process used, if an invoice may be asked for before it is confirmed.

        That is one over an amount at a rate that the journal tells, by a mutation that checks whose wallet it is: the
        one that takes a description hash does not, and an amountless one is not routed after a move (flash-server.md
        3.2, 3.4).
        """
        wallet = self._wallets.believed()
        if (
            wallet is None
            or not wallet.currency.in_cents
            or order.amount_msat is None
            or order.committed_hash is not None
        ):
            return None
        return wallet if (await self._seeded_rates(wallet.currency)).known else None

    async def _issue_ahead(self, order: InvoiceOrder, believed: ChosenWallet) -> CheckedInvoice:
        """Have an invoice made for the wallet of an earlier process while the server is asked which wallet it is now.

        Nobody gets it before the server has named that wallet. If it names another one, or none, the invoice is put
        aside. Another one is asked for only where it is certain what became of the first.
        """
        made, wallet = await asyncio.gather(
            self._issue(order, believed), self._wallets.choose(order.deadline), return_exceptions=True
        )
        if isinstance(wallet, ChosenWallet) and wallet.is_same_as(believed):
            if isinstance(made, CheckedInvoice):
                return made
            if isinstance(made, WalletMoved):
                return await self._issue_again(order, made)
            raise made
        if isinstance(made, CheckedInvoice):
            await self._keep_orphan(order, made, "its wallet is not the one in use now")
        if isinstance(wallet, BaseException):
            raise wallet
        if not isinstance(made, CheckedInvoice | WalletMoved | RequestRefused):
            raise made
        _log.info("the account has another wallet than it had", currency=wallet.currency)
        return await self._issue_there(order, wallet)

    async def _issue_there(self, order: InvoiceOrder, wallet: ChosenWallet) -> CheckedInvoice:
        """Have an invoice made for the wallet that the server named, or for the one that it has moved to."""
        try:
            return await self._issue(order, wallet)
        except WalletMoved as moved:
            return await self._issue_again(order, moved)

    async def _issue_again(self, order: InvoiceOrder, moved: WalletMoved) -> CheckedInvoice:
        """Have an invoice made for the wallet that the account has by now."""
        _log.info("the account has another wallet by now", currency=moved.wallet.currency)
        try:
            return await self._issue(order, moved.wallet)
        except WalletMoved:
            raise RequestRefused("the account's wallets are being moved; ask again in a moment") from None

    async def _issue(self, order: InvoiceOrder, wallet: ChosenWallet) -> CheckedInvoice:
        """Have an invoice made that will do."""
        if order.amount_msat is None:
            checked = await self._invoice_request.request(order, wallet, None)
            await self._insist_on_hash(order, checked)
            return checked
        search = AmountSearch(order.amount_msat, None if order.committed_hash else order.tolerance_percent)
        if not wallet.currency.in_cents:
            return await self._issue_in_sats(order, wallet, search)
        return await self._issue_in_cents(order, wallet, search)

    async def _issue_in_cents(self, order: InvoiceOrder, wallet: ChosenWallet, search: AmountSearch) -> CheckedInvoice:
        """Ask in cents until the custodian's answer is the amount wanted.

        Once there is an invoice that will do, nothing that happens to a better one can spoil it: the better one is
        asked for only while as much time is left as this one took, and while less than half of the budget is used: more
        sales go first.
        """
        rates = await self._learned_rates(wallet.currency, order.deadline)
        left_before = order.deadline.remaining
        checked, over = await self._ask_in_cents(order, wallet, search, rates)
        while search.best_msat is None:
            await self._keep_orphan(order, checked, "it is over another amount", asked_msat=search.asked_msat)
            left_before = order.deadline.remaining
            checked, over = await self._ask_in_cents(order, wallet, search, rates)
        if over or 2 * order.deadline.remaining < left_before:
            return checked
        try:
            async with self._budget.points(spare=True) as spare:
                quiet = replace(order, points=spare, call_log=SILENT)
                other, _ = await self._ask_in_cents(quiet, wallet, search, rates)
        except (LightningError, WalletMoved) as error:
            _log.info("an amount in whole satoshi can't be had now", why=str(error))
            return checked
        if other.request.amount_msat == search.best_msat:
            checked, other = other, checked
        await self._keep_orphan(order, other, "another fits better", asked_msat=search.asked_msat)
        return checked

    async def _ask_in_cents(
        self, order: InvoiceOrder, wallet: ChosenWallet, search: AmountSearch, rates: RateBook
    ) -> tuple[CheckedInvoice, bool]:
        """Have one invoice made, learn from it, and say whether the search is over."""
        quote = search.next_quote(rates)
        checked = await self._invoice_request.request(order, wallet, quote.cents)
        msat = checked.request.amount_msat or 0
        rates.learn(quote, msat)
        await self._insist_on_hash(order, checked)
        return checked, search.settle(quote, msat)

    async def _learned_rates(self, currency: Currency, deadline: Deadline) -> RateBook:
        """Return the rate, once the last invoices in the journal, else the server's price, have told it."""
        rates = await self._seeded_rates(currency)
        if not rates.known:
            await self._ask_price(rates, deadline)
        return rates

    async def _seeded_rates(self, currency: Currency) -> RateBook:
        """Return the rate, as far as invoices of the last hour in the journal tell it."""
        rates = self._rates(currency)
        if rates.wants_seed:
            latest = await self._journal.latest_priced(currency, _SEEDS)
            shown = [(each.created_at, each.cents, each.amount_msat) for each in reversed(latest)]
            rates.seed((at, cents, msat) for at, cents, msat in shown if cents is not None and msat is not None)
        return rates

    async def _issue_in_sats(self, order: InvoiceOrder, wallet: ChosenWallet, search: AmountSearch) -> CheckedInvoice:
        """Ask a BTC wallet, which counts in whole satoshi, once."""
        asked_msat = search.asked_msat
        sats = -(-asked_msat // _MSAT_PER_SAT)
        if not search.acceptable(sats * _MSAT_PER_SAT):
            raise AmountMismatch(asked_msat, [(sats - 1) * _MSAT_PER_SAT, sats * _MSAT_PER_SAT])
        checked = await self._invoice_request.request(order, wallet, Decimal(sats))
        await self._insist_on_hash(order, checked)
        if not search.acceptable(checked.request.amount_msat or 0):
            await self._keep_orphan(order, checked, "it is over another amount", asked_msat=asked_msat)
            raise AmountMismatch(asked_msat, [checked.request.amount_msat or 0])
        return checked

    async def _insist_on_hash(self, order: InvoiceOrder, checked: CheckedInvoice) -> None:
        required = self._settings.description_hash is DescriptionHashPolicy.REQUIRE
        if required and not checked.commits_to(order.committed_hash):
            await self._keep_orphan(order, checked, "it carries no description hash")
            raise NotSupported("this Flash server leaves the description hash out of its invoices (LUD-06)")

    async def _keep_orphan(self, order: InvoiceOrder, checked: CheckedInvoice, why: str, **facts: int) -> None:
        """Journal an invoice that the host will not get."""
        request = checked.request
        order.in_hand.pop(request.payment_hash, None)
        _log.info(
            "an invoice is put aside", why=why, payment_hash=request.payment_hash, msat=request.amount_msat, **facts
        )
        await self._journal.add_orphan(checked.record(order.params.description))

    def _take_late(self, order: InvoiceOrder, checked: CheckedInvoice) -> None:
        """Journal an invoice whose caller is gone."""
        if self._late is not None:
            self._late.start(self._keep_orphan(order, checked, "nobody waits for it any more"), "late invoice")

    async def _ask_price(self, rates: RateBook, deadline: Deadline) -> None:
        try:
            data = (await self._router.perform(PRICE(), deadline)).data("asking for the price")
        except (RequestRefused, BackendUnavailable) as error:
            raise RateUnknown(
                f"the server gives no price and has made no invoice yet, so satoshi can't be turned into cents: {error}"
            ) from error
        rates.see_price(read_price(data))


def _check(params: CreateInvoiceParams) -> None:
    try:
        params.description.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("description", "has half a surrogate pair in it, which is no character") from None


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[Deadline]:
    """Let nothing take longer than a host waits, the journal's own waits included; yield the server's deadline.

    Raises:
        BackendUnavailable: The time is over. What the server may have made meanwhile nobody is given.

    """
    try:
        async with asyncio.timeout(CREATE_SECONDS):
            yield Deadline.after(_SERVER_SECONDS)
    except TimeoutError:
        why = f"no invoice was made and kept within {CREATE_SECONDS:g} s"
        raise BackendUnavailable("creating the invoice", {"server and journal": why}, executed=None) from None
