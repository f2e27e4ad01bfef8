"""Sends what is queued for webhooks, at least once each: again after ever longer pauses until it is answered with 2xx.

Each replica sends; a delivery is claimed before it is sent, and claimed again by another replica if the first one dies
with it. The receiver tells repetitions by `deliveryId`.

Receivers do not wait for each other: each has a few attempts under way at most, so that one which never answers fills
its own places only. All of them together are bounded, too.

What is over is kept for a while, so that it can be looked at and sent again, and then deleted, little by little.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import aiohttp
from sqlalchemy.exc import SQLAlchemyError

from lightning_host.tasks import TaskSet
from lightning_host.web.public_network import ForbiddenAddressError, public_connector
from lightning_host.webhooks.table import WebhookTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lightning_host.host import Host
    from lightning_host.webhooks.records import Delivery, Webhook

__all__ = ["WebhookSender", "pauses", "signature"]

_log: Final = logging.getLogger("lightning_host")
_TICK_SECONDS: Final = 1.0
_SEND_SECONDS: Final = 10.0
_CLAIM_SECONDS: Final = 15.0  # longer than an attempt may take
_AT_ONCE: Final = 200
_AT_ONCE_OF_ONE: Final = 2
_SWEEP_SECONDS: Final = 3600.0
_SWEPT_AT_ONCE: Final = 500
_ATTEMPTS: Final = 10
_LONGEST_PAUSE: Final = 6 * 3600.0
_GROWTH: Final = 6


def pauses(first: float) -> list[float]:
    """Return how long to wait after each failed attempt: with 10 s first, ten attempts within a day and a half."""
    return [min(first * _GROWTH**number, _LONGEST_PAUSE) for number in range(_ATTEMPTS - 1)]


def signature(webhook: Webhook, body: bytes) -> str:
    """Return the value of `BTCPay-Sig`: the HMAC-SHA-256 of the body under the webhook's secret, as BTCPay makes it."""
    return f"sha256={hmac.new(webhook.secret.reveal().encode(), body, hashlib.sha256).hexdigest()}"


class WebhookSender:
    """Sends for one process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._rows = WebhookTable(host.database)
        self._pauses = pauses(host.settings.webhook_first_pause)
        self._wake = asyncio.Event()
        self._under_way: Counter[str] = Counter()
        self._tasks = TaskSet()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the block runs."""
        for store in self._host.stores:
            following = self._host.settlements.follow(store.id, lambda _: self._wake.set())
            self._tasks.start(following, f"follow settlements of {store.id} for webhooks")
        self._tasks.start(self._run(), "send webhooks")
        self._tasks.start(self._sweep(), "sweep webhooks")
        try:
            yield
        finally:
            await self._tasks.aclose()

    async def _run(self) -> None:
        private = self._host.settings.webhook_private_addresses
        timeout = aiohttp.ClientTimeout(total=_SEND_SECONDS)
        connector = public_connector(private=private)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            while True:
                self._wake.clear()
                claimed: list[Delivery] = []
                try:
                    if room := _AT_ONCE - self._under_way.total():
                        places = {each: _AT_ONCE_OF_ONE - count for each, count in self._under_way.items()}
                        claimed = await self._rows.claim(
                            _CLAIM_SECONDS, limit=room, places=places, most_of_one=_AT_ONCE_OF_ONE
                        )
                except (SQLAlchemyError, OSError):
                    _log.warning("webhooks can't be read from the database; trying again")
                for delivery in claimed:
                    self._under_way[delivery.webhook] += 1
                    self._tasks.start(self._attempt(session, delivery), f"send to webhook {delivery.webhook}")
                if not claimed:
                    await self._wait()

    async def _sweep(self) -> None:
        """Delete old deliveries now and then; a full sweep is followed by another at once, and others get a turn."""
        keep = timedelta(days=self._host.settings.webhook_keep_days)
        while True:
            swept = 0
            try:
                swept = await self._rows.prune(keep, limit=_SWEPT_AT_ONCE)
            except (SQLAlchemyError, OSError):
                _log.warning("old deliveries of webhooks can't be deleted from the database; trying again")
            await asyncio.sleep(_TICK_SECONDS if swept == _SWEPT_AT_ONCE else _SWEEP_SECONDS)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_TICK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _attempt(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        """Make one attempt, and have the sender look again once its place is free, and once the next one is due."""
        pause: float | None = None
        try:
            pause = await self._deliver(session, delivery)
        except (SQLAlchemyError, OSError):
            _log.warning("how a delivery ended can't be written to the database; it is made again")
        finally:
            self._under_way[delivery.webhook] -= 1
            if not self._under_way[delivery.webhook]:
                del self._under_way[delivery.webhook]
            self._wake.set()
        if pause is not None and pause < _TICK_SECONDS:
            await asyncio.sleep(pause)
            self._wake.set()

    async def _deliver(self, session: aiohttp.ClientSession, delivery: Delivery) -> float | None:
        """Make one attempt; gives after how many seconds the next one is due, None for none."""
        webhook = await self._rows.find(delivery.webhook)
        if webhook is None:  # removed while a settlement queued this one: nobody is there to be told
            await self._rows.finish(delivery, http_status=None, problem="the webhook was removed", pause=None)
            return None
        http_status, problem = await self._send(session, webhook, delivery)
        again = webhook.automatic_redelivery and delivery.attempts < len(self._pauses)
        pause = self._pauses[delivery.attempts] if again else None
        await self._rows.finish(delivery, http_status=http_status, problem=problem, pause=pause)
        if problem is not None:
            after = "given up" if pause is None else f"again in {pause:.0f} s"
            _log.warning("webhook %s of store %s: %s; %s", webhook.id, webhook.store, problem, after)
        return None if problem is None else pause

    @staticmethod
    async def _send(
        session: aiohttp.ClientSession, webhook: Webhook, delivery: Delivery
    ) -> tuple[int | None, str | None]:
        """Make one attempt; gives what it was answered, and what was wrong, if anything."""
        body = delivery.body.encode()
        headers = {"Content-Type": "application/json", "BTCPay-Sig": signature(webhook, body)}
        try:
            async with session.post(webhook.url, data=body, headers=headers, allow_redirects=False) as response:
                # Only the status counts: the answer's body is not read, however long it may be.
                good = 200 <= response.status < 300
                return response.status, None if good else f"was answered {response.status}"
        except aiohttp.ClientConnectorError as error:
            private = isinstance(error.os_error, ForbiddenAddressError)
            return None, "leads to a private address" if private else "can't be connected to"
        except ForbiddenAddressError:
            return None, "leads to a private address"
        except TimeoutError:
            return None, f"did not answer within {_SEND_SECONDS:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, f"failed with {type(error).__name__}"
