"""Webhooks and their deliveries as they are remembered.

A delivery is queued in the transaction that records what it tells of: it is there if and only if that is. Its
body is written then and never changes, so each attempt carries the same id, the same bytes and the same signature.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Boolean, bindparam, delete, insert, select, update

from lightning_host.checkout.table import PURPOSE as CHECKOUT_PURPOSE
from lightning_host.checkout.table import find_checkouts
from lightning_host.database import from_ms, now_ms, to_ms
from lightning_host.database.lists import newest_first
from lightning_host.invoices import comments_and_ends_of
from lightning_host.webhooks.records import DeliveryStatus, Webhook, read_delivery, read_webhook
from lightning_host.webhooks.records import deliveries as _deliveries
from lightning_host.webhooks.records import webhooks as _webhooks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from connection_strings import Secret
    from lightning_host.database import Database
    from lightning_host.settlements.ledger import Settlement
    from lightning_host.webhooks.records import Delivery

__all__ = ["Attempt", "WebhookTable", "queue_event", "queue_for_webhooks"]

_FINISHED: Final = ("attempts", "http_status", "problem", "status", "delivered_at", "due_at")
_FINISH: Final = (
    update(_deliveries)
    .where(_deliveries.c.id == bindparam("delivery"))
    .where(
        (_deliveries.c.due_at == bindparam("claimed_until")) & (_deliveries.c.status == DeliveryStatus.PENDING)
        | bindparam("delivered", type_=Boolean) & (_deliveries.c.status != DeliveryStatus.DELIVERED)
    )
    .values({name: bindparam(f"new_{name}") for name in _FINISHED})
)
_RELEASE: Final = (
    update(_deliveries)
    .where(_deliveries.c.id == bindparam("delivery"), _deliveries.c.due_at == bindparam("claimed_until"))
    .where(_deliveries.c.status == DeliveryStatus.PENDING)
    .values(due_at=bindparam("new_due_at"))
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt to deliver ended.

    Attributes:
        delivery: What was sent.
        http_status: What it was answered, None when it was not.
        problem: What was wrong, None when it was delivered.
        pause: After how many seconds it is to be tried again, None for never.

    """

    delivery: Delivery
    http_status: int | None
    problem: str | None
    pause: float | None


class WebhookTable:
    """Writes and reads webhooks and deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- webhooks ---------------------------------------------------------------------------------------------------

    async def add(
        self,
        store_id: str,
        url: str,
        secret: Secret,
        events: tuple[str, ...],
        *,
        enabled: bool,
        automatic_redelivery: bool = True,
    ) -> Webhook:
        """Remember a webhook."""
        row = {
            "id": secrets.token_hex(16),
            "store": store_id,
            "url": url,
            "secret": secret.reveal(),
            "events": " ".join(events),
            "enabled": enabled,
            "automatic_redelivery": automatic_redelivery,
            "created_at": now_ms(),
        }
        query = select(_webhooks).where(_webhooks.c.id == row["id"])

        def add(connection: Connection) -> Webhook:
            connection.execute(insert(_webhooks).values(row))
            return read_webhook(connection.execute(query).one())

        return await self._database.write(add)

    async def change(self, webhook: Webhook, **values: Any) -> None:
        """Change url, secret, events, enabled or automatic_redelivery."""
        if "secret" in values:
            values["secret"] = values["secret"].reveal()
        if "events" in values:
            values["events"] = " ".join(values["events"])
        statement = update(_webhooks).where(_webhooks.c.id == webhook.id).values(values)
        await self._database.write(lambda connection: connection.execute(statement))

    async def remove(self, webhook: Webhook) -> None:
        """Forget a webhook and its deliveries."""

        def remove(connection: Connection) -> None:
            connection.execute(delete(_deliveries).where(_deliveries.c.webhook == webhook.id))
            connection.execute(delete(_webhooks).where(_webhooks.c.id == webhook.id))

        await self._database.write(remove)

    async def find(self, webhook_id: str) -> Webhook | None:
        """Return a webhook, None when there is none with this id."""
        query = select(_webhooks).where(_webhooks.c.id == webhook_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else read_webhook(row)

    async def of_store(self, store_id: str) -> list[Webhook]:
        """Return the webhooks of a store, oldest first."""
        return await self._database.read(lambda connection: _webhooks_of(connection, store_id))

    # --- deliveries -------------------------------------------------------------------------------------------------

    async def redeliver(self, webhook: Webhook, delivery: Delivery) -> str:
        """Queue something again that was queued before; gives the id of the new delivery."""
        body = json.loads(delivery.body)
        body |= {"isRedelivery": True, "originalDeliveryId": body["originalDeliveryId"]}
        row = _delivery(webhook, body, original=body["originalDeliveryId"])
        await self._database.write(lambda connection: connection.execute(insert(_deliveries), row))
        return str(row["id"])

    async def find_delivery(self, delivery_id: str) -> Delivery | None:
        """Return a delivery, None when there is none with this id."""
        query = select(_deliveries).where(_deliveries.c.id == delivery_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else read_delivery(row)

    async def deliveries(
        self,
        webhook: Webhook,
        *,
        before: Delivery | None = None,
        after: Delivery | None = None,
        offset: int = 0,
        limit: int,
    ) -> list[Delivery]:
        """List what was or will be told to a webhook, newest first; a part of it as `newest_first` has it."""
        part = partial(
            newest_first,
            query=select(_deliveries).where(_deliveries.c.webhook == webhook.id),
            columns=(_deliveries.c.created_at, _deliveries.c.id),
            before=before,
            after=after,
            offset=offset,
            limit=limit,
        )
        return [read_delivery(row) for row in await self._database.read(part)]

    async def claim(
        self, seconds: float, *, most: int, most_of_one: int, but_for: Collection[str]
    ) -> list[tuple[Webhook | None, list[Delivery]]]:
        """Take deliveries that are due, for this number of seconds: no other replica sends them meanwhile.

        Args:
            seconds: How long.
            most: How many webhooks at most.
            most_of_one: How many deliveries of each.
            but_for: Webhooks that are left out.

        Returns:
            Deliveries by webhook; None stands for one that was removed. Each is due again when the claim ends, which
            tells this claim from every other one.

        """
        now = now_ms()
        due = (_deliveries.c.status == DeliveryStatus.PENDING, _deliveries.c.due_at <= now)
        query = select(_deliveries).where(*due, _deliveries.c.webhook.not_in(but_for)).order_by(_deliveries.c.due_at)
        rows = await self._database.read(lambda connection: connection.execute(query.limit(most * most_of_one)).all())
        chosen: dict[str, list[Delivery]] = {}
        for row in rows:
            of_one = chosen.setdefault(row.webhook, []) if len(chosen) < most else chosen.get(row.webhook)
            if of_one is not None and len(of_one) < most_of_one:
                of_one.append(read_delivery(row))
        if not chosen:
            return []
        ids = [delivery.id for of_one in chosen.values() for delivery in of_one]
        until = now + int(seconds * 1_000)
        take = update(_deliveries).where(_deliveries.c.id.in_(ids), *due).values(due_at=until)

        def claim(connection: Connection) -> list[tuple[Webhook | None, list[Delivery]]]:
            taken = set(connection.execute(take.returning(_deliveries.c.id)).scalars())
            found = connection.execute(select(_webhooks).where(_webhooks.c.id.in_(chosen)))
            webhooks = {row.id: read_webhook(row) for row in found}
            mine = {
                name: [replace(each, due_at=from_ms(until)) for each in of_one if each.id in taken]
                for name, of_one in chosen.items()
            }
            return [(webhooks.get(name), of_one) for name, of_one in mine.items() if of_one]

        return await self._database.write(claim, durable=False)

    async def release(self, claimed: Sequence[Delivery]) -> None:
        """Let any replica send what was claimed and not sent; what another one has claimed since stays its own."""
        rows = [{"delivery": each.id, "claimed_until": to_ms(each.due_at), "new_due_at": now_ms()} for each in claimed]
        await self._database.write(lambda connection: connection.execute(_RELEASE, rows), durable=False)

    async def finish(self, attempts: Sequence[Attempt]) -> None:
        """Write down how attempts ended, all together.

        What was delivered is delivered, however late that is told. A failure counts while the claim lasts only: another
        replica may have delivered it since.
        """
        now = now_ms()
        rows = [_what_finishes(attempt, now) for attempt in attempts]
        await self._database.write(lambda connection: connection.execute(_FINISH, rows), durable=False)

    async def prune(self, keep: timedelta, *, limit: int) -> int:
        """Delete deliveries that have been over for that long, up to a number; returns how many.

        `due_at` of one that is over tells when its last attempt was.
        """
        over = (
            _deliveries.c.status.in_((DeliveryStatus.DELIVERED, DeliveryStatus.GAVE_UP)),
            _deliveries.c.due_at <= now_ms() - keep // timedelta(milliseconds=1),
        )
        # What another replica is deleting right now is left to it.
        chosen = select(_deliveries.c.id).where(*over).limit(limit).with_for_update(skip_locked=True)
        statement = delete(_deliveries).where(_deliveries.c.id.in_(chosen))
        return await self._database.write(lambda connection: connection.execute(statement).rowcount, durable=False)


def _what_finishes(attempt: Attempt, now: int) -> dict[str, Any]:
    """Return what `_FINISH` writes: delivered, or to be tried after a pause, or given up when there is none."""
    delivered, again = attempt.problem is None, attempt.pause is not None
    status = DeliveryStatus.PENDING if again else DeliveryStatus.GAVE_UP
    return {
        "delivery": attempt.delivery.id,
        "claimed_until": to_ms(attempt.delivery.due_at),
        "delivered": delivered,
        "new_attempts": attempt.delivery.attempts + 1,
        "new_http_status": attempt.http_status,
        "new_problem": attempt.problem,
        "new_status": DeliveryStatus.DELIVERED if delivered else status,
        "new_delivered_at": now if delivered else None,
        "new_due_at": now + int((attempt.pause or 0) * 1_000),
    }


def queue_for_webhooks(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Queue what is to be told of a store's payments; a handler of settlements, so each is queued once."""
    if webhooks := _enabled(connection, settlements[0].store):
        _queue(connection, webhooks, _events(connection, settlements))


def queue_event(connection: Connection, store_id: str, event: str, told: dict[str, Any]) -> None:
    """Queue what is to be told of something else than a settlement, in the transaction that makes it so."""
    _queue(connection, _enabled(connection, store_id), [(event, told)])


def _queue(connection: Connection, webhooks: Sequence[Webhook], events: Iterable[tuple[str, dict[str, Any]]]) -> None:
    rows = [
        _delivery(webhook, {"type": event, **told})
        for event, told in events
        for webhook in webhooks
        if not webhook.events or event in webhook.events
    ]
    if rows:
        connection.execute(insert(_deliveries), rows)


def _enabled(connection: Connection, store_id: str) -> list[Webhook]:
    return [webhook for webhook in _webhooks_of(connection, store_id) if webhook.enabled]


def _webhooks_of(connection: Connection, store_id: str) -> list[Webhook]:
    query = select(_webhooks).where(_webhooks.c.store == store_id).order_by(_webhooks.c.created_at, _webhooks.c.id)
    return [read_webhook(row) for row in connection.execute(query)]


def _delivery(webhook: Webhook, told: dict[str, Any], *, original: str | None = None) -> dict[str, Any]:
    """Make the row of a delivery that is due now."""
    delivery_id, now = secrets.token_hex(16), now_ms()
    body = {
        **told,
        "deliveryId": delivery_id,
        "webhookId": webhook.id,
        "originalDeliveryId": original or delivery_id,
        "isRedelivery": original is not None,
    }
    return {
        "id": delivery_id,
        "webhook": webhook.id,
        "body": json.dumps(body),
        "status": DeliveryStatus.PENDING,
        "attempts": 0,
        "due_at": now,
        "created_at": now,
    }


def _events(connection: Connection, settlements: Sequence[Settlement]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what kind of event each of a store's settlements is, and what is told of it."""
    hashes = {settlement.payment_hash for settlement in settlements}
    invoices = comments_and_ends_of(connection, settlements[0].store, hashes)
    subjects = {settlement.subject for settlement in settlements if settlement.purpose == CHECKOUT_PURPOSE}
    found = find_checkouts(connection, subjects) if subjects else []
    checkouts = {checkout.id: checkout for checkout in found}
    # Checkouts are read as all of these payments have made them: which were paid before each of them?
    paid = {each.id for each in found if each.paid_hash is not None and each.paid_hash not in hashes}
    for settlement in sorted(settlements, key=lambda each: each.number):
        comment, end = invoices.get(settlement.payment_hash, ("", settlement.paid_at))
        told = _told(settlement, comment)
        checkout = checkouts.get(settlement.subject) if settlement.purpose == CHECKOUT_PURPOSE else None
        told["afterExpiration"] = settlement.paid_at > (end if checkout is None else checkout.expires_at)
        if settlement.purpose != CHECKOUT_PURPOSE or (checkout and checkout.paid_hash == settlement.payment_hash):
            event = "InvoiceSettled"
        else:
            event = "InvoicePaymentSettled"
            told["overPaid"] = settlement.subject in paid
        if settlement.purpose == CHECKOUT_PURPOSE:
            told["invoiceId"] = settlement.subject
            if event == "InvoiceSettled":
                paid.add(settlement.subject)
        if checkout is not None:
            told["flashcardId"] = checkout.card
        yield event, told


def _told(settlement: Settlement, comment: str) -> dict[str, Any]:
    """Return what is told of any payment."""
    metadata = {"orderId": settlement.external_id, "comment": comment}
    return {
        "timestamp": int(settlement.paid_at.timestamp()),
        "storeId": settlement.store,
        "invoiceId": settlement.payment_hash,
        "paymentHash": settlement.payment_hash,
        "amount": str(settlement.amount.msat),
        "purpose": settlement.purpose,
        "subject": settlement.subject,
        "externalId": settlement.external_id,
        "comment": comment,
        "metadata": {name: value for name, value in metadata.items() if value},
        "manuallyMarked": False,
        "number": settlement.number,
        "overPaid": False,
    }
