"""Webhooks and their deliveries as they are remembered.

A delivery is queued in the transaction that records the settlement: it is there if and only if the settlement is. Its
body is written then and never changes, so each attempt carries the same id, the same bytes and the same signature.
"""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, or_, select, update

from lightning_host.checkout.table import PURPOSE as CHECKOUT_PURPOSE
from lightning_host.checkout.table import CheckoutTable
from lightning_host.database import now_ms, to_ms
from lightning_host.invoices import HostInvoices
from lightning_host.webhooks.records import DeliveryStatus, Webhook, read_delivery, read_webhook
from lightning_host.webhooks.records import deliveries as _deliveries
from lightning_host.webhooks.records import webhooks as _webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from connection_strings import Secret
    from lightning_host.database import Database
    from lightning_host.settlements.ledger import Settlement
    from lightning_host.webhooks.records import Delivery

__all__ = ["WebhookTable"]


class WebhookTable:
    """Writes and reads webhooks and deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._checkouts = CheckoutTable(database)
        self._invoices = HostInvoices(database)

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
        async with self._database.begin() as connection:
            await connection.execute(insert(_webhooks).values(row))
            found = await connection.execute(select(_webhooks).where(_webhooks.c.id == row["id"]))
            return read_webhook(found.one())

    async def change(self, webhook: Webhook, **values: Any) -> None:
        """Change url, secret, events, enabled or automatic_redelivery."""
        if "secret" in values:
            values["secret"] = values["secret"].reveal()
        if "events" in values:
            values["events"] = " ".join(values["events"])
        async with self._database.begin() as connection:
            await connection.execute(update(_webhooks).where(_webhooks.c.id == webhook.id).values(values))

    async def remove(self, webhook: Webhook) -> None:
        """Forget a webhook and its deliveries."""
        async with self._database.begin() as connection:
            await connection.execute(delete(_deliveries).where(_deliveries.c.webhook == webhook.id))
            await connection.execute(delete(_webhooks).where(_webhooks.c.id == webhook.id))

    async def find(self, webhook_id: str) -> Webhook | None:
        """Return a webhook, None when there is none with this id."""
        async with self._database.begin() as connection:
            row = (await connection.execute(select(_webhooks).where(_webhooks.c.id == webhook_id))).one_or_none()
        return None if row is None else read_webhook(row)

    async def of_store(self, store_id: str, *, connection: AsyncConnection | None = None) -> list[Webhook]:
        """Return the webhooks of a store, oldest first."""
        query = select(_webhooks).where(_webhooks.c.store == store_id).order_by(_webhooks.c.created_at, _webhooks.c.id)
        async with self._database.within(connection) as reading:
            return [read_webhook(row) for row in await reading.execute(query)]

    # --- deliveries -------------------------------------------------------------------------------------------------

    async def settle(self, connection: AsyncConnection, settlement: Settlement) -> None:
        """Queue what is to be told of a payment; a handler of settlements, so each is queued once."""
        webhooks = await self.of_store(settlement.store, connection=connection)
        if not webhooks:
            return
        event, told = await self._event(connection, settlement)
        for webhook in webhooks:
            if webhook.enabled and (not webhook.events or event in webhook.events):
                await self._queue(connection, webhook, {"type": event, **told})

    async def redeliver(self, webhook: Webhook, delivery: Delivery) -> str:
        """Queue something again that was queued before; gives the id of the new delivery."""
        body = json.loads(delivery.body)
        body |= {"isRedelivery": True, "originalDeliveryId": body["originalDeliveryId"]}
        async with self._database.begin() as connection:
            return await self._queue(connection, webhook, body, original=body["originalDeliveryId"])

    async def find_delivery(self, delivery_id: str) -> Delivery | None:
        """Return a delivery, None when there is none with this id."""
        async with self._database.begin() as connection:
            found = await connection.execute(select(_deliveries).where(_deliveries.c.id == delivery_id))
            row = found.one_or_none()
        return None if row is None else read_delivery(row)

    async def deliveries(
        self, webhook: Webhook, *, offset: int = 0, before: Delivery | None = None, limit: int
    ) -> list[Delivery]:
        """List what was or will be told to a webhook, newest first; behind `before`, if that is given."""
        query = select(_deliveries).where(_deliveries.c.webhook == webhook.id)
        if before is not None:
            time = to_ms(before.created_at)
            behind = or_(_deliveries.c.created_at < time, _deliveries.c.id > before.id)
            query = query.where(_deliveries.c.created_at <= time, behind)
        query = query.order_by(_deliveries.c.created_at.desc(), _deliveries.c.id).offset(offset).limit(limit)
        async with self._database.begin() as connection:
            return [read_delivery(row) for row in await connection.execute(query)]

    async def claim(self, seconds: float, *, limit: int, places: Mapping[str, int], most_of_one: int) -> list[Delivery]:
        """Take deliveries that are due, for this number of seconds: no other replica sends them meanwhile.

        Args:
            seconds: How long.
            limit: How many at most.
            places: How many of a webhook at most, for webhooks that have some under way.
            most_of_one: How many of any other webhook.

        """
        now, left = now_ms(), dict(places)
        due = (_deliveries.c.status == DeliveryStatus.PENDING, _deliveries.c.due_at <= now)
        full = [webhook for webhook, count in places.items() if count <= 0]
        query = select(_deliveries).where(*due, _deliveries.c.webhook.not_in(full)).order_by(_deliveries.c.due_at)
        async with self._database.begin() as connection:
            waiting = [read_delivery(row) for row in await connection.execute(query.limit(limit))]
        chosen: dict[str, Delivery] = {}
        for delivery in waiting:
            left[delivery.webhook] = left.get(delivery.webhook, most_of_one) - 1
            if left[delivery.webhook] >= 0:
                chosen[delivery.id] = delivery
        if not chosen:
            return []
        take = update(_deliveries).where(_deliveries.c.id.in_(chosen), *due).values(due_at=now + int(seconds * 1_000))
        async with self._database.begin() as connection:
            taken = (await connection.execute(take.returning(_deliveries.c.id))).scalars().all()
        return [chosen[each] for each in chosen if each in taken]

    async def finish(
        self, delivery: Delivery, *, http_status: int | None, problem: str | None, pause: float | None
    ) -> None:
        """Write down how an attempt ended: delivered, or to be tried after a pause, or given up when there is none."""
        now = now_ms()
        values: dict[str, Any] = {"attempts": delivery.attempts + 1, "http_status": http_status, "problem": problem}
        if problem is None:
            values |= {"status": DeliveryStatus.DELIVERED, "delivered_at": now}
        elif pause is None:
            values |= {"status": DeliveryStatus.GAVE_UP}
        else:
            values |= {"due_at": now + int(pause * 1_000)}
        async with self._database.begin() as connection:
            await connection.execute(update(_deliveries).where(_deliveries.c.id == delivery.id).values(values))

    async def prune(self, keep: timedelta, *, limit: int) -> int:
        """Delete deliveries that have been over for that long, up to a number; returns how many.

        One that is over was claimed last for its last attempt, so `due_at` tells when that was.
        """
        over = (
            _deliveries.c.status.in_((DeliveryStatus.DELIVERED, DeliveryStatus.GAVE_UP)),
            _deliveries.c.due_at <= now_ms() - keep // timedelta(milliseconds=1),
        )
        # What another replica is deleting right now is left to it.
        chosen = select(_deliveries.c.id).where(*over).limit(limit).with_for_update(skip_locked=True)
        async with self._database.begin() as connection:
            pruned = await connection.execute(delete(_deliveries).where(_deliveries.c.id.in_(chosen)))
        return pruned.rowcount

    async def _queue(
        self, connection: AsyncConnection, webhook: Webhook, told: dict[str, Any], *, original: str | None = None
    ) -> str:
        delivery_id = secrets.token_hex(16)
        body = {
            **told,
            "deliveryId": delivery_id,
            "webhookId": webhook.id,
            "originalDeliveryId": original or delivery_id,
            "isRedelivery": original is not None,
        }
        now = now_ms()
        row = {
            "id": delivery_id,
            "webhook": webhook.id,
            "body": json.dumps(body),
            "status": DeliveryStatus.PENDING,
            "attempts": 0,
            "due_at": now,
            "created_at": now,
        }
        await connection.execute(insert(_deliveries).values(row))
        return delivery_id

    async def _event(self, connection: AsyncConnection, settlement: Settlement) -> tuple[str, dict[str, Any]]:
        """Return what kind of event a settlement is, and what is told of it."""
        made = await self._invoices.find(settlement.store, settlement.payment_hash, connection=connection)
        comment = made.comment if made is not None else ""
        metadata = {"orderId": settlement.external_id, "comment": comment}
        told: dict[str, Any] = {
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
        if settlement.purpose != CHECKOUT_PURPOSE:
            return "InvoiceSettled", told
        checkout = await self._checkouts.find(settlement.subject, connection=connection)
        settles = checkout is not None and checkout.paid_hash == settlement.payment_hash
        over = checkout is not None and checkout.paid_at is not None and not settles
        told |= {"invoiceId": settlement.subject, "overPaid": over}
        if checkout is not None:
            told["flashcardId"] = checkout.card
        return "InvoiceSettled" if settles else "InvoicePaymentSettled", told
