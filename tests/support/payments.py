"""What tests of payments have in common."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connection_strings import (
    LightningPaymentStatus,
    PayInvoiceParams,
)
from flash_driver.flash_api.outcomes import Cause, NotExecuted, Outcome
from flash_driver.journal.records import PaymentRecord
from flash_driver.transports.delivery import Delivery
from tests.support.timing import account_of

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox

__all__ = [
    "COMPLETE",
    "FAILED",
    "PAY",
    "PENDING",
    "PROBE",
    "QUICK",
    "UNKNOWN",
    "Oracle",
    "arrived_msat",
    "at",
    "executed",
    "held_back",
    "left_open",
    "requested",
    "status_of",
]

PAY: Final = "lnInvoicePaymentSend"
PROBE: Final = "lnUsdInvoiceFeeProbe"
QUICK: Final = PayInvoiceParams(send_timeout=timedelta(seconds=4))
COMPLETE: Final = LightningPaymentStatus.COMPLETE
FAILED: Final = LightningPaymentStatus.FAILED
PENDING: Final = LightningPaymentStatus.PENDING
UNKNOWN: Final = LightningPaymentStatus.UNKNOWN


async def status_of(client: FlashLightningClient, payment_hash: str) -> LightningPaymentStatus | None:
    """Return what the driver says of a payment."""
    payment = await client.get_payment(payment_hash)
    return None if payment is None else payment.status


def executed(sandbox: Sandbox) -> list[int]:
    """Return how often the money left, for each payment in the ledger."""
    return [row["times_executed"] for row in sandbox.ledger_snapshot()["payments"]]


def arrived_msat(sandbox: Sandbox, payment_hash: str) -> int:
    """Return what the payee of a payment got, in millisatoshi."""
    (row,) = [each for each in sandbox.ledger_snapshot()["payments"] if each["payment_hash"] == payment_hash]
    return int(row["msat"])


def requested(sandbox: Sandbox) -> list[int]:
    """Return how often each payment was asked for."""
    return [row["times_requested"] for row in sandbox.ledger_snapshot()["payments"]]


def held_back(sandbox: Sandbox) -> bool:
    """Whether a payment was asked for, and the fault that holds its answer back has struck: it may be cleared now."""
    return bool(requested(sandbox)) and sandbox.ledger_snapshot()["faults_armed"] == 0


def at(client: FlashLightningClient, moment: datetime) -> None:
    """Let this be the time for the driver's payments."""
    payments = account_of(client).payments
    payments._clock = payments._sending._clock = payments._recovery._clock = lambda: moment


def left_open(sandbox: Sandbox, signed: Any, *, sender_ends: timedelta, **changes: Any) -> PaymentRecord:
    """Return the record of an attempt that another process has sent, and whose call ends that much later."""
    now = datetime.now(UTC)
    record = PaymentRecord(
        payment_hash=signed.payment_hash,
        bolt11=signed.payment_request,
        wallet_id=sandbox.wallet_id,
        amount_msat=5000,
        created_at=now,
        attempt=1,
        idempotency_key="of another process",
        begun_by="another process",
        sent_at=now,
        sender_until=now + sender_ends,
    )
    return replace(record, **changes)


class Oracle:
    """A router whose answers to payments are given; everything else goes its way."""

    def __init__(self, client: FlashLightningClient, *outcomes: Outcome | Exception) -> None:
        account = account_of(client)
        self._router = account.router
        self._outcomes = list(outcomes)
        self.keys: list[object] = []
        account.payments._sending._router = self  # type: ignore[assignment]  # it stands in for the router

    async def perform(self, operation: Any, *arguments: Any, **options: Any) -> Delivery:
        """Answer as foretold."""
        if operation.document.field != PAY:
            return await self._router.perform(operation, *arguments, **options)
        operation.about_to_write()
        self.keys.append(operation.variables["input"].get("idempotencyKey"))
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        reasons = {"http": 'Field "idempotencyKey" is not defined'} if isinstance(outcome, NotExecuted) else {}
        causes = frozenset({outcome.cause}) if isinstance(outcome, NotExecuted) else frozenset[Cause]()
        return Delivery(outcome, "http", reasons, causes)
