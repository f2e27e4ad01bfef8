"""The Flash Lightning client: thin, each method reads as a sentence."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Never, Self, overload
from weakref import WeakSet

from connection_strings.errors import InvalidRequest, NotSupported
from connection_strings.lightning import (
    DEFAULT_EXPIRY,
    CreateInvoiceParams,
    LightningInvoice,
    LightningNodeBalance,
    LightningNodeInformation,
    LightningPayment,
    ListInvoicesParams,
    ListPaymentsParams,
    PayInvoiceParams,
    PayResponse,
)
from connection_strings.money import LightMoney
from flash_driver.accounts.balance import balance_of
from flash_driver.accounts.pool import Pool, shared_pool
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import ME
from flash_driver.flash_api.replies import read_account
from flash_driver.invoices.creation import CREATE_SECONDS
from flash_driver.transports.websocket.handshake import ConnectionFailed
from flash_driver.wallets import choose_wallet

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from datetime import timedelta
    from decimal import Decimal
    from types import TracebackType

    from connection_strings.grammar import ConnectionString
    from connection_strings.lightning import KeysendParams
    from flash_driver.accounts.account import Account
    from flash_driver.settings.account import FlashSettings
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.settlements.health import Health
    from flash_driver.settlements.listeners import FlashInvoiceListener

__all__ = ["FlashLightningClient"]

_ASK_SECONDS: Final = 10.0

_ELSEWHERE_SECONDS: Final = 5.0
"""How long to wait for what another event loop closes, which may itself be waiting for this one."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What a client holds on one event loop."""

    account: Account
    listeners: WeakSet[FlashInvoiceListener] = field(default_factory=WeakSet)


class FlashLightningClient:
    """A `LightningClient` for one Flash account; made by `LightningClientFactory` from a connection string.

    Cheap to make and to close: everything that lasts is shared with the account's other clients.

    Args:
        settings: The account.
        process: What is set for the process.
        pool: Where to share; the process's own unless given.

    """

    def __init__(self, settings: FlashSettings, process: ProcessSettings, pool: Pool = shared_pool) -> None:
        self._settings = settings
        self._process = process
        self._pool = pool
        self._held: dict[asyncio.AbstractEventLoop, _Held] = {}

    def __repr__(self) -> str:
        return f"<FlashLightningClient server={self._settings.server!r}>"

    @property
    def connection_string(self) -> ConnectionString:
        """What this client was made of, with the keys that say more than the defaults; masked until `render()`."""
        return self._settings.connection_string

    # --- invoices ---------------------------------------------------------------------------------------------------

    @overload
    async def create_invoice(
        self, params: CreateInvoiceParams, /, *, amount_tolerance: Decimal | None = None
    ) -> LightningInvoice: ...

    @overload
    async def create_invoice(
        self,
        amount: LightMoney,
        description: str = "",
        expiry: timedelta = DEFAULT_EXPIRY,
        *,
        amount_tolerance: Decimal | None = None,
    ) -> LightningInvoice: ...

    async def create_invoice(
        self,
        amount: LightMoney | CreateInvoiceParams,
        description: str = "",
        expiry: timedelta = DEFAULT_EXPIRY,
        *,
        amount_tolerance: Decimal | None = None,
    ) -> LightningInvoice:
        """Create an invoice, within 5 s in all.

        Flash counts in dollars: the amount of the returned invoice is what its BOLT11 says, at least the one asked for
        and at most `amount-tolerance` percent more; exactly the one asked for with a description hash. Flash lets
        invoices live 60 s (flash-server.md 3.4): see `expires_at`.

        Args:
            amount: The terms, or the amount of an invoice with the terms that follow.
            description: What the payer reads.
            expiry: How long the invoice should be payable.
            amount_tolerance: As `CreateInvoiceParams.amount_tolerance`.

        Raises:
            InvalidRequest: The terms are malformed.
            AmountMismatch: The server makes no invoice over this amount.
            RateLimited: The account's limit of new invoices is reached.
            NotSupported: A description hash is required and the server does not make any.
            CredentialRejected: The server refuses the token.
            BackendUnavailable: No transport worked; each is named with its reason.
            LightningError: Base of these and of what else the server may answer.

        """
        if not isinstance(amount, CreateInvoiceParams | LightMoney):
            raise InvalidRequest(
                "amount", "must be a LightMoney, zero for an amountless invoice, or CreateInvoiceParams"
            )
        params = amount if isinstance(amount, CreateInvoiceParams) else CreateInvoiceParams(amount, description, expiry)
        if amount_tolerance is not None:
            params = replace(params, amount_tolerance=amount_tolerance)
        with self._account().calling() as account:
            record = await account.creation.create(params)
        return record.invoice

    async def create_invoices(self, params: Sequence[CreateInvoiceParams]) -> list[LightningInvoice]:
        """Create invoices side by side; the answer has the order of the question.

        A hundred cost little more time than one, on a socket that is open and at a rate that is known.

        Raises:
            RateLimited: The account's budget of new invoices has not room for all; none was created.
            LightningError: As `create_invoice`; those that were created are listed by `list_invoices`.

        """
        with self._account().calling() as account:
            records = await account.creation.create_many(params)
        return [record.invoice for record in records]

    async def get_invoice(self, invoice_id: str) -> LightningInvoice | None:
        """Look an invoice up by id, which is its payment hash; None only when this driver certainly never made it.

        Raises:
            LightningError: It can't be found out now how it stands.

        """
        if not _is_text(invoice_id):
            return None
        with self._account().calling() as account:
            record = await account.lookup.find(invoice_id, Deadline.after(_ASK_SECONDS))
        return None if record is None else record.invoice

    async def list_invoices(self, params: ListInvoicesParams | None = None) -> list[LightningInvoice]:
        """List the invoices made through this driver as its journal knows them, oldest first, 1,000 at the most.

        Raises:
            InvalidRequest: `after` names no invoice of this account.

        """
        params = params or ListInvoicesParams()
        with self._account().calling() as account:
            rows = await account.journal.list_invoices(
                pending_only=params.pending_only, after=params.after, offset=params.offset_index
            )
        return [row.invoice for row in rows]

    async def list_orphans(self) -> list[LightningInvoice]:
        """List invoices that the server made and no host got, such as one over another amount than asked, oldest first.

        Nobody should pay them; the journal keeps them so that a payment to one can be explained.
        """
        with self._account().calling() as account:
            rows = await account.journal.list_orphans()
        return [row.invoice for row in rows]

    async def cancel_invoice(self, invoice_id: str) -> Never:
        """Refuse: Flash can't cancel an invoice; it expires within 60 s.

        Raises:
            NotSupported: Always.

        """
        raise NotSupported("Flash can't cancel an invoice; it expires by itself within a minute")

    async def listen(self, *, after: str | None = None) -> FlashInvoiceListener:
        """Start hearing of settled invoices: from now, or from a listener's `cursor` on.

        Raises:
            InvalidRequest: `after` is no cursor of this journal.

        """
        held = self._hold()
        # A client that is forgotten while its listener is in use must not look gone.
        listener = await held.account.listen(after, owner=self)
        held.listeners.add(listener)
        return listener

    # --- payments ---------------------------------------------------------------------------------------------------

    async def pay(self, bolt11: str, params: PayInvoiceParams | None = None) -> PayResponse:
        """Pay a BOLT11 out of the wallet.

        An outcome that can't be known is `PayResult.UNKNOWN`: ask `get_payment`, never pay again. Flash tells neither
        preimage nor fee of a payment (flash-server.md 3.7).

        Raises:
            InvalidRequest: The BOLT11 or the amount makes no sense; nothing was sent.
            LightningError: Something before the payment failed; nothing was sent.

        """
        with self._account().calling() as account:
            return await account.payments.pay(bolt11, params or PayInvoiceParams())

    async def get_payment(self, payment_hash: str) -> LightningPayment | None:
        """Look a payment up in the journal; None only when none was ever attempted for this hash."""
        if not _is_text(payment_hash):
            return None
        with self._account().calling() as account:
            return await account.payments.find(payment_hash)

    async def list_payments(self, params: ListPaymentsParams | None = None) -> list[LightningPayment]:
        """List the payments made through this driver, oldest first, 1,000 at the most.

        Raises:
            InvalidRequest: `after` names no payment of this account.

        """
        params = params or ListPaymentsParams()
        with self._account().calling() as account:
            if params.unknown_only:
                return await account.payments.unknown()
            return await account.payments.history(
                include_pending=params.include_pending, after=params.after, offset=params.offset_index
            )

    async def settle_payment(self, payment_hash: str, *, paid: bool, reason: str) -> LightningPayment:
        """Write down by hand how a payment ended of which nobody else can tell it any more.

        Args:
            payment_hash: Which payment.
            paid: Whether the money left, as the Flash app shows it. What is called failed may be paid again.
            reason: How you know; kept with the payment.

        Raises:
            InvalidRequest: There is no such payment, it is known how it ended, or it is being sent.

        """
        with self._account().calling() as account:
            return await account.payments.settle_by_hand(payment_hash, paid=paid, reason=reason)

    # --- the account ------------------------------------------------------------------------------------------------

    async def get_balance(self) -> LightningNodeBalance:
        """Read the wallet's balance: an estimate in bitcoin, `estimate` says what of.

        Raises:
            LightningError: The balance or the price can't be read.

        """
        deadline = Deadline.after(_ASK_SECONDS)
        with self._account().calling() as account:
            return await balance_of(account, deadline)

    async def get_info(self) -> LightningNodeInformation:
        """Say what is known of the node, within 5 s, and prove that server and token work.

        Flash tells nothing of its custodian's node (flash-server.md 3.11), so there are no heights, channels or peers.

        Raises:
            LightningError: Server or token do not work.

        """
        await self._prove(CREATE_SECONDS)
        return LightningNodeInformation(alias="Flash")

    async def validate(self) -> None:
        """Check that server, token and wallet of the connection string work together.

        Raises:
            ConnectionStringError: `wallet-id` or `currency` fit no wallet of the account.
            CredentialRejected: The server refuses the token.
            LightningError: The server can't be reached, or answers something unusable.

        """
        await self._prove(_ASK_SECONDS)

    async def warm_up(self) -> None:
        """Connect and look the account up ahead of the first invoice.

        A WebSocket that can't be opened is no error as long as another transport works.

        Raises:
            LightningError: As `validate`.

        """
        deadline = Deadline.after(_ASK_SECONDS)
        with self._account().calling() as account:
            await account.wallets.choose(deadline)
            if account.socket is not None:
                with contextlib.suppress(ConnectionFailed):
                    await account.socket.connection(deadline)

    @property
    def health(self) -> Health:
        """How connection and listening stand now."""
        return self._account().health

    # --- what a custodian can't do ----------------------------------------------------------------------------------

    async def keysend(self, destination: str, params: KeysendParams) -> Never:
        """Refuse: Flash pays invoices only.

        Raises:
            NotSupported: Always.

        """
        raise NotSupported("Flash pays invoices only; ask the payee for one")

    async def open_channel(
        self, node_uri: str, amount: LightMoney, *, fee_rate: Decimal | None = None, private: bool = False
    ) -> Never:
        """Refuse: channels are the custodian's.

        Raises:
            NotSupported: Always.

        """
        raise NotSupported("Flash is a custodial wallet: it opens no channels for its users")

    async def connect_to(self, node_uri: str) -> Never:
        """Refuse: peers are the custodian's.

        Raises:
            NotSupported: Always.

        """
        raise NotSupported("Flash is a custodial wallet: it connects to no peers for its users")

    async def get_deposit_address(self) -> Never:
        """Refuse: the driver speaks Lightning only.

        Raises:
            NotSupported: Always.

        """
        raise NotSupported("this driver has no on-chain address; receive over Lightning")

    async def list_channels(self) -> Never:
        """Refuse: channels are the custodian's.

        Raises:
            NotSupported: Always.

        """
        raise NotSupported("Flash is a custodial wallet: its users have no channels")

    # --- life -------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close this client's listeners and let go of everything; the next call takes it up again.

        The last client of an account lets its calls under way come to their end, for 5 s at most: so a token is changed
        by making a client with the new one, and closing the old one once calls go to the new. Closing includes what is
        used on other event loops that run now, in other threads.
        """
        here = asyncio.get_running_loop()
        held = {loop: each for loop, each in self._held.items() if loop is here or loop.is_running()}
        async with contextlib.AsyncExitStack() as each_loop:
            for loop in held:
                if (each := self._held.pop(loop, None)) is None:
                    continue
                if loop is here:
                    each_loop.push_async_callback(self._let_go, each)
                else:
                    each_loop.push_async_callback(_elsewhere, loop, self._let_go(each))

    async def _let_go(self, held: _Held) -> None:
        async with contextlib.AsyncExitStack() as last_first:
            last_first.push_async_callback(self._pool.release, self, held.account)
            for listener in list(held.listeners):
                last_first.push_async_callback(listener.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _account(self) -> Account:
        return self._hold().account

    def _hold(self) -> _Held:
        """Return the account on the running loop, taken up at its first use there; forget loops that are closed."""
        here = asyncio.get_running_loop()
        held = self._held.get(here)
        if held is not None and self in held.account.users:
            return held
        account = self._pool.acquire(self, self._settings, self._process)
        if held is None or held.account is not account:
            for loop in [loop for loop in list(self._held) if loop.is_closed()]:
                self._held.pop(loop, None)
            held = self._held[here] = _Held(account)
        return held

    async def _prove(self, seconds: float) -> None:
        """Ask the server who we are, now and not from memory, and check that the wallet set is one of ours."""
        with self._account().calling() as account:
            delivery = await account.router.perform(ME(), Deadline.after(seconds))
        choose_wallet(read_account(delivery.data("reaching the account")), self._settings)


async def _elsewhere(loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, None]) -> None:
    """Do something on another running event loop, and wait for it, though not for ever."""
    try:
        doing = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:  # closed since we looked, and with it all that was on it
        work.close()
        return
    done, _ = await asyncio.wait([asyncio.wrap_future(doing)], timeout=_ELSEWHERE_SECONDS)
    for each in done:
        each.result()


def _is_text(value: object) -> bool:
    """Whether an id can be one at all: hosts hand in whatever they find in their databases."""
    return isinstance(value, str)
