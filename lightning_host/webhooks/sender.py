"""Sends what is queued for webhooks, at least once each: again after ever longer pauses until it is answered with 2xx.

Each replica sends; a delivery is claimed before it is sent, and claimed again by another replica if the first one dies
with it. The receiver tells repetitions by `deliveryId`.

Receivers do not wait for each other: each has a few attempts under way at most, so that one which never answers fills
its own places only. All of them together are bounded, too. What is due for a receiver is claimed together, sent over
connections that are kept for a second, and how attempts ended is written down together.

Neither a claim nor how an attempt ended has to be durable: what a power cut takes back is sent once more.

What is over is kept for a while, so that it can be looked at and sent again, and then deleted, little by little.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from sqlalchemy.exc import SQLAlchemyError

from lightning_host.logs import Trouble
from lightning_host.tasks import TaskSet
from lightning_host.web.public_network import ForbiddenAddressError, public_connector
from lightning_host.webhooks.table import Attempt, WebhookTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from lightning_host.host import Host
    from lightning_host.webhooks.records import Delivery, Webhook

__all__ = ["WebhookSender", "pauses", "signature"]

_log: Final = logging.getLogger("lightning_host")
_TICK_SECONDS: Final = 1.0
_SEND_SECONDS: Final = 10.0
_BEGIN_SECONDS: Final = 5.0
"""For how long after a claim attempts are begun."""

_CLAIM_SECONDS: Final = _BEGIN_SECONDS + _SEND_SECONDS + 2.0
"""Long enough for the last of these attempts, and for writing down how it ended."""
_MOST_BUSY: Final = 100
_AT_ONCE_OF_ONE: Final = 2
_CLAIMED_OF_ONE: Final = 50
_KEPT_SECONDS: Final = 1.0
"""How long a connection is kept for the next delivery: shorter than any server lets one be idle."""

_TOGETHER_SECONDS: Final = 0.05
"""How long the end of an attempt waits for others to be written down with it."""

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


@dataclass(slots=True)
class _Route:
    """What a request went over.

    Attributes:
        kept: Whether it was a connection that had been kept from an earlier request.

    """

    kept: bool = False


class WebhookSender:
    """Sends for one process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._rows = WebhookTable(host.database)
        self._pauses = pauses(host.settings.webhook_first_pause)
        self._wake = asyncio.Event()
        self._busy: set[str] = set()
        self._ended: list[Attempt] = []
        self._any_ended = asyncio.Event()
        self._tasks = TaskSet()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the block runs."""
        for store in self._host.stores:
            following = self._host.settlements.follow(store.id, lambda _: self._wake.set())
            self._tasks.start(following, f"follow settlements of {store.id} for webhooks")
        self._tasks.start(self._run(), "send webhooks")
        self._tasks.start(self._write_down(), "write down how webhooks ended")
        self._tasks.start(self._sweep(), "sweep webhooks")
        try:
            yield
        finally:
            await self._tasks.aclose()
            if self._ended:
                await self._write_ended()

    async def _run(self) -> None:
        private = self._host.settings.webhook_private_addresses
        timeout = aiohttp.ClientTimeout()  # none of its own: `_send` has one for all that an attempt takes
        connector = public_connector(private=private, keep_seconds=_KEPT_SECONDS)
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_kept)
        trouble = Trouble(_log, end="webhooks are read from the database again")
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=False, trace_configs=[trace]
        ) as session:
            while True:
                self._wake.clear()
                until = asyncio.get_running_loop().time() + _BEGIN_SECONDS
                claimed: list[tuple[Webhook | None, list[Delivery]]] = []
                try:
                    if room := _MOST_BUSY - len(self._busy):
                        claimed = await self._rows.claim(
                            _CLAIM_SECONDS, most=room, most_of_one=_CLAIMED_OF_ONE, but_for=self._busy
                        )
                    trouble.over()
                except (SQLAlchemyError, OSError):
                    trouble.tell("webhooks can't be read from the database; trying again")
                for webhook, deliveries in claimed:
                    name = deliveries[0].webhook
                    self._busy.add(name)
                    self._tasks.start(self._work_off(session, webhook, deliveries, until), f"send to webhook {name}")
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

    async def _work_off(
        self, session: aiohttp.ClientSession, webhook: Webhook | None, deliveries: Sequence[Delivery], until: float
    ) -> None:
        """Send what was claimed for a webhook, a few at a time, while the claim surely lasts; give the rest back."""
        now, waiting = asyncio.get_running_loop().time, deque(deliveries)

        async def work() -> None:
            while waiting and now() < until:
                self._end(await self._attempt(session, webhook, waiting.popleft()))

        try:
            await asyncio.gather(*(work() for _ in range(_AT_ONCE_OF_ONE)))
            if waiting:
                await self._rows.release(waiting)
        finally:
            self._busy.discard(deliveries[0].webhook)
            self._wake.set()

    async def _attempt(self, session: aiohttp.ClientSession, webhook: Webhook | None, delivery: Delivery) -> Attempt:
        """Make one attempt."""
        if webhook is None:  # removed while a settlement queued this one: nobody is there to be told
            return Attempt(delivery, None, "the webhook was removed", None)
        http_status, problem = await self._send(session, webhook, delivery)
        if problem is None:
            return Attempt(delivery, http_status, None, None)
        again = webhook.automatic_redelivery and delivery.attempts < len(self._pauses)
        pause = self._pauses[delivery.attempts] if again else None
        after = "given up" if pause is None else f"again in {pause:.0f} s"
        _log.warning("webhook %s of store %s: %s; %s", webhook.id, webhook.store, problem, after)
        return Attempt(delivery, http_status, problem, pause)

    def _end(self, attempt: Attempt) -> None:
        self._ended.append(attempt)
        self._any_ended.set()

    async def _write_down(self) -> None:
        """Write down how attempts ended, those together that end while others are written down."""
        while True:
            await self._any_ended.wait()
            await asyncio.sleep(_TOGETHER_SECONDS)
            await self._write_ended()

    async def _write_ended(self) -> None:
        self._any_ended.clear()
        ended, self._ended = self._ended, []
        try:
            await self._rows.finish(ended)
        except (SQLAlchemyError, OSError):
            _log.warning("how deliveries ended can't be written to the database; they are made again")
        for attempt in ended:
            if attempt.pause is not None and attempt.pause < _TICK_SECONDS:
                asyncio.get_running_loop().call_later(attempt.pause, self._wake.set)

    @staticmethod
    async def _send(
        session: aiohttp.ClientSession, webhook: Webhook, delivery: Delivery
    ) -> tuple[int | None, str | None]:
        """Make one attempt; gives what it was answered, and what was wrong, if anything."""
        body = delivery.body.encode()
        headers = {"Content-Type": "application/json", "BTCPay-Sig": signature(webhook, body)}
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                status = await _post(session, webhook.url, body, headers)
        except aiohttp.ClientConnectorError as error:
            private = isinstance(error.os_error, ForbiddenAddressError)
            return None, "leads to a private address" if private else "can't be connected to"
        except ForbiddenAddressError:
            return None, "leads to a private address"
        except TimeoutError:
            return None, f"did not answer within {_SEND_SECONDS:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return None, f"failed with {type(error).__name__}"
        return status, None if 200 <= status < 300 else f"was answered {status}"


async def _post(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send a body and return the status; at once again where a kept connection turns out to have been closed.

    Raises:
        aiohttp.ClientError: That is not possible now.
        OSError: The same.
        ValueError: The URL or what was answered is not HTTP.

    """
    for _ in range(_AT_ONCE_OF_ONE):  # no more connections than this are kept for one webhook
        route = _Route()
        try:
            return await _post_once(session, url, body, headers, route)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not route.kept:
                raise
    return await _post_once(session, url, body, headers, _Route())


async def _post_once(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], route: _Route
) -> int:
    async with session.post(
        url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=route
    ) as response:
        # Only the status counts: the answer's body is not read, however long it may be. aiohttp keeps a connection only
        # if all of that was there already.
        return response.status


async def _note_kept(_session: aiohttp.ClientSession, context: Any, _parameters: object) -> None:
    """Note that a request goes over a kept connection; called by aiohttp."""
    context.trace_request_ctx.kept = True
