"""What a sandbox knows and does, without serving it: the bank, the credentials, and what can be done to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from flash_driver.sandbox.bank.bank import open_bank
from flash_driver.sandbox.bank.broker import account_topic
from flash_driver.sandbox.bank.credentials import Credentials
from flash_driver.sandbox.bank.invoices import Invoices, Settled
from flash_driver.sandbox.bank.payments import Payments
from flash_driver.sandbox.bank.phone_login import PhoneLogin
from flash_driver.sandbox.bank.refusals import InvalidInput
from flash_driver.sandbox.bank.signer import PREFIXES, read_invoice
from flash_driver.sandbox.faults import parse_fault
from flash_driver.sandbox.options import SandboxOptions
from flash_driver.sandbox.schema.subscriptions import publish_price

if TYPE_CHECKING:
    from decimal import Decimal

    from flash_driver.sandbox.bank.custodian import Clock
    from flash_driver.sandbox.bank.ledger import Account, InvoiceStatus
    from flash_driver.sandbox.bank.signer import SignedInvoice
    from flash_driver.sandbox.faults import OpenSocket
    from flash_driver.sandbox.options import CutoverState, MigrationState

__all__ = ["Simulation", "utc_now"]

_DEFAULT_MSAT: Final = 100_000


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


class Simulation:
    """The state of one sandbox, and all that tests and the control endpoint do with it.

    Args:
        options: How it behaves.
        clock: Tells it the time; tests may have their own.

    """

    def __init__(self, options: SandboxOptions | None = None, *, clock: Clock = utc_now) -> None:
        self.options = options or SandboxOptions()
        self._bank = open_bank(self.options, clock)
        self._invoices = Invoices(self._bank)
        self._sends = Payments(self._bank, self._invoices)
        self._credentials = Credentials(self._bank)
        self._logins = PhoneLogin(self.options, self._credentials)
        self._sockets: set[OpenSocket] = set()

    @property
    def token(self) -> str:
        """The session token of the account."""
        return self._credentials.token

    @property
    def api_key(self) -> str:
        """The API key of the account."""
        return self._credentials.api_key

    @property
    def wallet_id(self) -> str:
        """The account's cash wallet: the one that money goes to now."""
        return self._cash_wallet(self._bank.owner)

    @property
    def wallet_ids(self) -> dict[str, str]:
        """The account's wallets by currency."""
        return {each.currency: each.id for each in self._bank.owner.wallets if not each.external}

    @property
    def stranger_token(self) -> str:
        """The session token of another user."""
        return self._credentials.stranger_token

    @property
    def stranger_wallet_id(self) -> str:
        """A wallet of another user."""
        return self._cash_wallet(self._bank.stranger)

    def _cash_wallet(self, account: Account) -> str:
        try:
            return self._bank.present(account, capable=True).active.id
        except InvalidInput:
            return account.wallets[0].id

    def pay(self, payment_request: str, *, force: bool = False, msat: int | None = None) -> str:
        """Pay an invoice of the sandbox from outside; give back its preimage.

        Args:
            payment_request: The BOLT11.
            force: Pay it even if it has expired, as a payment that was in flight.
            msat: What to pay where the invoice doesn't say.

        Raises:
            NotAnInvoiceError: It is no BOLT11.
            LookupError: The sandbox did not issue it.
            NotPayableError: It is paid already, or expired.

        """
        asked = read_invoice(payment_request)
        invoice = self._bank.ledger.invoices.get(asked.payment_hash)
        if invoice is None:
            raise LookupError("the sandbox did not issue this invoice")
        self._invoices.settle(invoice, msat=asked.msat or msat or _DEFAULT_MSAT, late=force)
        return invoice.signed.preimage

    def foreign_invoice(
        self, msat: int | None = None, *, description: str = "", expiry_seconds: int = 3600
    ) -> SignedInvoice:
        """Sign an invoice of some other node on the network."""
        return self._bank.network.sign(
            msat=msat,
            description=description,
            now=self._bank.clock(),
            expiry=timedelta(seconds=expiry_seconds),
            network=PREFIXES[self.options.network],
        )

    def announce(self, payment_hash: str, *, status: InvoiceStatus = "PAID", wallet_id: str | None = None) -> None:
        """Send an `LnUpdate` to the account that the ledger knows nothing of: a lie, a stranger's, or a repetition."""
        event = Settled(payment_hash, wallet_id or self.wallet_id, status)
        self._bank.broker.publish(account_topic(self._bank.owner.id), event)

    def resolve_payment(self, payment_hash: str, *, arrived: bool) -> int:
        """Decide what became of the payments of a hash that are pending; give back how many there were."""
        return len(self._sends.resolve(payment_hash, arrived=arrived))

    def ledger_snapshot(self) -> dict[str, Any]:
        """Tell what really happened, as `GET /control/ledger` does."""
        return {
            **self._bank.ledger.snapshot(self._bank.clock()),
            **self._bank.traffic.snapshot(),
            "limits": self._bank.limiters.snapshot(self._bank.owner.id, self._bank.clock()),
            "faults_armed": self._bank.faults.armed,
        }

    def arm(self, kind: str, /, **details: Any) -> None:
        """Arm a fault, as `POST /control/fault` does.

        Raises:
            BadFaultError: There is no such fault, or it doesn't take that.

        """
        fault = parse_fault({"kind": kind, **details})
        if fault.when != "now":
            self._bank.faults.arm(fault)
            return
        for socket in self._sockets:
            self._bank.tasks.start(socket.strike(fault), "fault")

    def clear_faults(self) -> None:
        """Disarm all faults; delays that go on end."""
        self._bank.faults.clear()

    def set_price(
        self,
        *,
        usd_per_btc: Decimal | None = None,
        spread: Decimal | None = None,
        drift_percent_per_minute: Decimal | None = None,
    ) -> None:
        """Move the price, and tell it to all subscribers."""
        self._bank.custodian.set_price(
            usd_per_btc=usd_per_btc, spread=spread, drift_percent_per_minute=drift_percent_per_minute
        )
        publish_price(self._bank)

    def set_cutover(self, state: CutoverState, migration: MigrationState = "NOT_BEGUN") -> None:
        """Move on the change from USD to USDT wallets.

        Args:
            state: How far all accounts are.
            migration: How far this account is; it counts while the state is IN_PROGRESS.

        """
        self._bank.cutover = state
        self._bank.owner.migration = migration

    def set_active(self, *, active: bool) -> None:
        """Close the account to new invoices, or open it again."""
        self._bank.owner.active = active

    def purge(self, payment_hash: str) -> None:
        """Let the custodian delete an invoice: it is found no more, paid or not.

        Raises:
            LookupError: The sandbox did not issue it.

        """
        self._bank.ledger.invoices[payment_hash].purged = True

    def set_custodian_seconds(self, seconds: float) -> None:
        """Let the custodian take this long from now on, for invoices, payments and fee probes."""
        self._bank.custodian_seconds = seconds

    def log_in(self) -> str:
        """Give the account a further session token, as a new login does; the others stay."""
        return self._credentials.log_in()

    def expire_session(self, *, expired: bool = True) -> None:
        """End the token's session, or let it begin again."""
        self._credentials.expire(expired=expired)

    def revoke_api_key(self) -> None:
        """End the account's API key for good."""
        self._credentials.revoke_api_key()

    def reset(self) -> None:
        """Forget all that happened; credentials and wallets stay."""
        self._bank.reset()
        self._sends.forget()
        self._credentials.expire(expired=False)
