"""The tables of webhooks and deliveries, and what a row of each is."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text, true

from connection_strings import Secret
from lightning_host.database import from_ms, metadata, to_ms

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

__all__ = ["EVENTS", "Delivery", "DeliveryStatus", "Webhook", "deliveries", "read_delivery", "read_webhook", "webhooks"]

EVENTS: Final = (
    *("InvoiceSettled", "InvoicePaymentSettled", "InvoiceCreated", "InvoiceReceivedPayment", "InvoiceProcessing"),
    *("InvoiceExpired", "InvoiceExpiredPaidPartial", "InvoicePaidAfterExpiration", "InvoiceInvalid"),
    *("PayoutCreated", "PayoutApproved", "PayoutUpdated"),
    *("PaymentRequestCreated", "PaymentRequestUpdated", "PaymentRequestArchived", "PaymentRequestStatusChanged"),
    *("PaymentRequestCompleted", "SubscriberCreated", "SubscriberCredited", "SubscriberCharged"),
    *("SubscriberActivated", "SubscriberPhaseChanged", "SubscriberDisabled", "SubscriberNeedUpgrade"),
    *("PaymentReminder", "PlanStarted"),
    "FlashcardSpent",
)
"""What can be asked for: BTCPay's names, and one of our own at the end. Three are told. The first two: that something
was paid, and that a checkout which was paid already was paid once more. The last: that a card has paid something.
"""

webhooks: Final = Table(
    "host_webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("store", String(64), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("automatic_redelivery", Boolean, nullable=False, server_default=true()),
    Column("created_at", BigInteger, nullable=False),
)
deliveries: Final = Table(
    "host_webhook_deliveries",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("webhook", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    Column("http_status", Integer),
    Column("problem", Text),
    Index("host_webhook_deliveries_due", "status", "due_at"),
    Index("host_webhook_deliveries_by_webhook", "webhook", "created_at", "id"),
)


class DeliveryStatus(enum.StrEnum):
    """Where a delivery stands; GAVE_UP is told in the log, and can be sent again through the API."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    GAVE_UP = "GaveUp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where to tell what.

    Attributes:
        secret: What deliveries are signed with.
        events: What is told; empty for everything.
        automatic_redelivery: Whether a failed attempt is followed by others.

    """

    id: str
    store: str
    url: str
    secret: Secret
    events: tuple[str, ...]
    enabled: bool
    automatic_redelivery: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One thing to be told to one webhook.

    Attributes:
        id: The same in each attempt.
        body: What is sent, byte by byte.
        due_at: When the next attempt is due.
        http_status: What the last attempt was answered, None when it was not.
        problem: Why the last attempt failed.

    """

    id: str
    webhook: str
    body: str
    status: DeliveryStatus
    attempts: int
    due_at: datetime
    created_at: datetime
    delivered_at: datetime | None
    http_status: int | None
    problem: str | None

    @property
    def place(self) -> tuple[int | str, ...]:
        """Where it stands in a list, as `newest_first` has it."""
        return to_ms(self.created_at), self.id


def read_webhook(row: Row[Any]) -> Webhook:
    """Read a row of `webhooks`."""
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    values |= {
        "secret": Secret(values["secret"]),
        "events": tuple(values["events"].split()),
        "created_at": from_ms(values["created_at"]),
    }
    return Webhook(**values)


def read_delivery(row: Row[Any]) -> Delivery:
    """Read a row of `deliveries`."""
    values = dict(row._mapping)  # noqa: SLF001 - as above
    for name in ("due_at", "created_at", "delivered_at"):
        values[name] = None if values[name] is None else from_ms(values[name])
    return Delivery(**{**values, "status": DeliveryStatus(values["status"])})
