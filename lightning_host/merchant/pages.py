"""The pages of a merchant: payments and takings, the wallet, the cards."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from aiohttp import web

from lightning_host.checkout.service import SERVICE
from lightning_host.flashcards.table import FlashcardTable
from lightning_host.merchant.card_payments import CardPayments
from lightning_host.merchant.csv_file import HEAD, csv_lines, csv_row
from lightning_host.merchant.login import visit_of
from lightning_host.merchant.payments import Payments
from lightning_host.merchant.periods import latest_months, month_named, month_of, today
from lightning_host.merchant.view import show
from lightning_host.merchant.wallet_state import alarms_of, facts_of
from lightning_host.web.bodies import Fields
from lightning_host.web.problems import ProblemError
from lightning_host.web.streams import STREAMS

if TYPE_CHECKING:
    from lightning_host.merchant.login import Visit
    from lightning_host.merchant.payments import Payment
    from lightning_host.merchant.periods import Period
    from lightning_host.settlements.subscription import Subscription

__all__ = ["add_pages"]

_SHOWN: Final = 50
_WRITTEN_AT_ONCE: Final = 200
_WRITE_SECONDS: Final = 30.0
_BOM: Final = "\ufeff".encode()
"""By which spreadsheets know that a file is UTF-8."""


def add_pages(app: web.Application) -> None:
    """Add the routes."""
    one = "/merchant/{store}"
    app.add_routes(
        [
            web.get(one, _payments),
            web.get(f"{one}/payments.csv", _csv),
            web.get(f"{one}/wallet", _wallet),
            web.get(f"{one}/cards", _cards),
            web.get(f"{one}/cards/payments", _card_payments),
            web.get(f"{one}/events", _events),
        ]
    )


async def _payments(request: web.Request) -> web.Response:
    """Show takings, and payments: the newest, or those that are searched for."""
    visit, now = await visit_of(request), datetime.now(UTC)
    zone, rows = visit.zone, Payments(visit.host.database, visit.store.id)
    query = Fields(request.query)
    with query.together("search", "before"):
        words = query.text("search", default="", longest=512).strip()
        before = query.whole("before", most=2**53) if "before" in query else None
    if words:
        found = await rows.search(words, before=before, limit=_SHOWN + 1)
    else:
        found = await rows.newest(before=before, limit=_SHOWN + 1)
    shown, older = found[:_SHOWN], None
    if len(found) > _SHOWN:
        place = {"search": words} if words else {}
        older = f"{visit.path}?{urlencode({**place, 'before': shown[-1].number})}"
    return await show(
        request,
        visit,
        "merchant_payments.html",
        tab="payments",
        alarms=alarms_of(visit.host, visit.store),
        takings=[
            await _takings(request, visit, "Today", today(now, zone)),
            await _takings(request, visit, f"{now.astimezone(zone):%B}", month_of(now, zone)),
        ],
        payments=shown,
        words=words,
        first=before is None,
        older=older,
        months=[month.name for month in latest_months(now, zone)],
    )


async def _takings(request: web.Request, visit: Visit, name: str, period: Period) -> dict[str, Any]:
    sums = await Payments(visit.host.database, visit.store.id).takings(period)
    fiat = None
    if sums.received:
        fiat = await request.app[SERVICE].fiat.words(visit.store, sums.received)
    spent = await CardPayments(visit.host.database, visit.store.id).sums(period)
    return {"name": name, "sums": sums, "fiat": fiat, "spent": spent}


async def _csv(request: web.Request) -> web.StreamResponse:
    """Send a month's payments as a file, page by page."""
    visit = await visit_of(request)
    zone, query = visit.zone, Fields(request.query)
    with query.together("month"):
        period = month_named(query.text("month", longest=7), zone)
        if period is None:
            query.note("month", "must be a month, such as 2026-11")
    assert period is not None, "refused above"  # noqa: S101 - says so to the type checker
    name = f"{visit.store.id}-{period.name}.csv"
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
        }
    )
    await response.prepare(request)
    await _write(response, _BOM + csv_lines([HEAD]))
    waiting: list[Payment] = []
    async for payment in Payments(visit.host.database, visit.store.id).of(period):
        waiting.append(payment)
        if len(waiting) == _WRITTEN_AT_ONCE:
            await _write(response, csv_lines(csv_row(each, zone) for each in waiting))
            waiting.clear()
    await _write(response, csv_lines(csv_row(each, zone) for each in waiting))
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Write a part of a file; a client that takes nothing for a while is left."""
    try:
        async with asyncio.timeout(_WRITE_SECONDS):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client takes nothing") from None


async def _wallet(request: web.Request) -> web.Response:
    visit = await visit_of(request)
    facts = await facts_of(visit.host, visit.store)
    return await show(request, visit, "merchant_wallet.html", tab="wallet", facts=facts)


async def _cards(request: web.Request) -> web.Response:
    """Show the cards and what is on them, newest first."""
    visit = await visit_of(request)
    rows, query = FlashcardTable(visit.host.database), Fields(request.query)
    with query.together("before"):
        before = query.text("before", default="", longest=32)
    last = await rows.find(before) if before else None
    if before and (last is None or last.store != visit.store.id):
        raise ProblemError.make(404, "flashcard-not-found", "there is no such flashcard")
    cards = await rows.page(visit.store.id, before=last, limit=_SHOWN + 1)
    return await show(
        request,
        visit,
        "merchant_cards.html",
        tab="cards",
        cards=cards[:_SHOWN],
        first=last is None,
        older=f"{visit.path}/cards?before={cards[_SHOWN - 1].id}" if len(cards) > _SHOWN else None,
    )


async def _card_payments(request: web.Request) -> web.Response:
    """Show what was paid with cards, newest first."""
    visit = await visit_of(request)
    rows, query = CardPayments(visit.host.database, visit.store.id), Fields(request.query)
    with query.together("before"):
        before = query.text("before", default="", longest=64)
    last = await rows.find(before) if before else None
    if before and last is None:
        raise ProblemError.make(404, "payment-not-found", "no card has paid this")
    payments = await rows.newest(before=last, limit=_SHOWN + 1)
    more = len(payments) > _SHOWN
    return await show(
        request,
        visit,
        "merchant_card_payments.html",
        tab="cards",
        payments=payments[:_SHOWN],
        first=last is None,
        older=f"{visit.path}/cards/payments?before={payments[_SHOWN - 1].payment_hash}" if more else None,
    )


async def _events(request: web.Request) -> web.StreamResponse:
    """Tell the number of the newest payment, and each that follows, until the page closes or the session ends."""
    visit = await visit_of(request)
    settlements, changed = visit.host.settlements, asyncio.Event()
    left = (visit.session.expires_at - datetime.now(UTC)).total_seconds()
    async with request.app[STREAMS].open(request) as stream, settlements.subscribe(visit.store.id) as settled:
        following = asyncio.create_task(_follow(settled, changed))
        try:
            async with asyncio.timeout(left):
                while not following.done():
                    changed.clear()
                    await visit_of(request)  # logged out elsewhere: the stream ends
                    newest = await Payments(visit.host.database, visit.store.id).newest(before=None, limit=1)
                    await stream.send("state", {"number": newest[0].number if newest else 0})
                    await stream.until(changed)
        except (TimeoutError, ProblemError):
            pass  # the session is over: the page is told so when it asks again
        finally:
            following.cancel()
    return stream.response


async def _follow(settled: Subscription, changed: asyncio.Event) -> None:
    """Tell of each settlement, and when there are no more to come."""
    async for _ in settled:
        changed.set()
    changed.set()
