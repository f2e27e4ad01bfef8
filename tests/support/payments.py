"""What tests of payments have in common."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connection_strings import (
    LightningPaymentStatus,
    PayInvoiceParams,
)
from flash_driver.flash_api.outcomes import Cause, NotExecuted, Outcome
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
    "at",
    "executed",
    "requested",
    "status_of",
]

PAY: Final = "lnInvoicePaymentSend"
PROBE: Final = "lnUsdInvoiceFeeProbe"
QUICK: Final = PayInvoiceParams(send_timeout=timedelta(seconds=1))
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


def requested(sandbox: Sandbox) -> list[int]:
    """Return how often each payment was asked for."""
    return [row["times_requested"] for row in sandbox.ledger_snapshot()["payments"]]


def at(client: FlashLightningClient, moment: datetime) -> None:
    """Let this be the time for the driver's payments."""
    payments = account_of(client).payments
    payments._sending._clock = payments._resolving._clock = lambda: moment


class Oracle:
    """A router whose answers to payments are given; everything else goes its way."""

    def __init__(self, client: FlashLightningClient, *outcomes: Outcome | Exception) -> None:
        account = account_of(client)
        self._router = account.router
        self._outcomes = list(outcomes)
        self.keys: list[object] = []
        for part in (account.payments._sending, account.payments._resolving):
            part._router = self  # type: ignore[assignment]  # it stands in for the router

    async def perform(self, operation: Any, *arguments: Any, **options: Any) -> Delivery:
        """Answer as foretold."""
        if operation.document.field != PAY:
            return await self._router.perform(operation, *arguments, **options)
        self.keys.append(operation.variables["input"].get("idempotencyKey"))
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        reasons = {"http": 'Field "idempotencyKey" is not defined'} if isinstance(outcome, NotExecuted) else {}
        causes = frozenset({outcome.cause}) if isinstance(outcome, NotExecuted) else frozenset[Cause]()
        return Delivery(outcome, "http", reasons, causes)
