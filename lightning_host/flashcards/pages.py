"""A card's page: its balance as it changes, its code to scan, a form to top it up, and what came and went."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from connection_strings import LightMoney
from lightning_host.checkout.service import SERVICE
from lightning_host.checkout.table import PURPOSE as CHECKOUT_PURPOSE
from lightning_host.client_address import client_key
from lightning_host.flashcards.lnurl import card_lnurl
from lightning_host.flashcards.table import PURPOSE, FlashcardTable
from lightning_host.flashcards.taps import TapStatus, TapTable
from lightning_host.host import HOST
from lightning_host.lnurl.pay import spend_share
from lightning_host.web.bodies import read_form
from lightning_host.web.csrf import FORM_FIELD, Csrf
from lightning_host.web.pages import in_sat, in_words, render
from lightning_host.web.problems import ProblemError
from lightning_host.web.qr import qr_response
from lightning_host.web.streams import STREAMS

if TYPE_CHECKING:
    from datetime import datetime

    from lightning_host.flashcards.table import Flashcard, TopUp
    from lightning_host.flashcards.taps import Tap
    from lightning_host.host import Host
    from lightning_host.settlements.subscription import Subscription
    from lightning_host.stores import Store

__all__ = ["add_card_pages"]

_SHOWN: Final = 20
_LOOK_SECONDS: Final = 5.0
"""How often an open page looks for payments with the card, of which no settlement tells."""

_CHOICES_SAT: Final = (5_000, 10_000, 50_000)


def add_card_pages(app: web.Application) -> None:
    """Add the routes of the page."""
    one = "/flashcards/{card}"
    app.add_routes(
        [
            web.get(one, _page),
            web.get(f"{one}/state", _state),
            web.get(f"{one}/events", _events),
            web.get(f"{one}/code.svg", _code),
            web.post(f"{one}/topup", _top_up),
        ]
    )


async def _page(request: web.Request) -> web.Response:
    host = request.app[HOST]
    card, store = await _card(request)
    csrf = _csrf(host, card)
    nonce, token = await csrf.token(request)
    least, most = _bounds(host)
    response = render(
        "flashcard.html",
        card=card,
        title=store.title,
        state=await _state_of(host, card.id),
        lnurl=card_lnurl(host, card),
        choices=[sat for sat in _CHOICES_SAT if least <= sat <= most],
        least=least,
        most=most,
        form_field=FORM_FIELD,
        form_token=token,
    )
    csrf.remember(response, nonce)
    return response


async def _state(request: web.Request) -> web.Response:
    card, _ = await _card(request)
    return web.json_response(await _state_of(request.app[HOST], card.id))


async def _events(request: web.Request) -> web.StreamResponse:
    """Tell the balance, and each that follows, until the page closes."""
    host = request.app[HOST]
    card, store = await _card(request)
    changed, told = asyncio.Event(), None
    async with request.app[STREAMS].open(request) as stream, host.settlements.subscribe(store.id) as settled:
        ringing = asyncio.create_task(_ring(settled, changed))
        looking = asyncio.create_task(_look(host, card.id, changed))
        try:
            while not ringing.done():
                changed.clear()
                state = await _state_of(host, card.id)
                if state != told:
                    await stream.send("state", state)
                    told = state
                await stream.until(changed)
        finally:
            ringing.cancel()
            looking.cancel()
    return stream.response


async def _ring(settled: Subscription, changed: asyncio.Event) -> None:
    """Tell of each settlement that may be a card's, and when there are no more to come."""
    async for settlement in settled:
        if settlement.purpose in (PURPOSE, CHECKOUT_PURPOSE):
            changed.set()
    changed.set()


async def _look(host: Host, card_id: str, changed: asyncio.Event) -> None:
    """Tell of payments with the card, also those by way of another replica."""
    known: dict[str, Any] = {}
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        with contextlib.suppress(SQLAlchemyError, OSError):
            state = await _state_of(host, card_id)
            if state != known:
                known = state
                changed.set()


async def _code(request: web.Request) -> web.Response:
    card, _ = await _card(request)
    return qr_response(f"lightning:{card_lnurl(request.app[HOST], card)}")


async def _top_up(request: web.Request) -> web.Response:
    """Open a checkout over the amount of the form; anybody may, so it is counted as LNURL's invoices are."""
    host = request.app[HOST]
    card, store = await _card(request)
    form = await read_form(request, host.settings.request_seconds)
    await _csrf(host, card).check(request, form)
    least, most = _bounds(host)
    sat = form.whole("amount", least=least, most=most)
    await spend_share(host, store, PURPOSE, client_key(request, host.settings.trusted_proxies))
    checkout = await request.app[SERVICE].open(
        store,
        LightMoney.from_sat(sat),
        description=f"Top up flashcard {card.name}".strip(),
        redirect_url=host.url(f"/flashcards/{card.id}"),
        card=card.id,
    )
    raise web.HTTPSeeOther(f"/checkout/{checkout.id}")


async def _state_of(host: Host, card_id: str) -> dict[str, Any]:
    """Return what the page shows and its script is told."""
    rows = FlashcardTable(host.database)
    card = await rows.find(card_id)
    if card is None:
        raise _unknown()
    came = [_came(top_up) for top_up in await rows.history(card, limit=_SHOWN)]
    went = [_went(tap) for tap in await TapTable(host.database).payments(card.id, limit=_SHOWN)]
    newest = sorted(came + went, key=lambda entry: entry["time"], reverse=True)[:_SHOWN]
    return {"balance": in_sat(card.balance), "history": newest}


def _came(top_up: TopUp) -> dict[str, str]:
    words = top_up.comment or ("Scanned and paid" if top_up.way == "lnurl" else "Topped up")
    return _entry("+", top_up.amount, words, top_up.paid_at)


def _went(tap: Tap) -> dict[str, str]:
    """Tell of a payment; one that is not known to be paid yet is told with all that is reserved for it."""
    words = "Paid with the card" if tap.status is TapStatus.PAID else "Being paid"
    amount = tap.charged or tap.reserved or LightMoney.ZERO
    return _entry("\u2212", amount, words, tap.reserved_at or tap.expires_at)


def _entry(sign: str, amount: LightMoney, words: str, time: datetime) -> dict[str, str]:
    return {
        "sign": sign,
        "amount": in_sat(amount),
        "words": words,
        "when": in_words(time),
        "time": time.isoformat(timespec="milliseconds"),
    }


async def _card(request: web.Request) -> tuple[Flashcard, Store]:
    host = request.app[HOST]
    card = await FlashcardTable(host.database).find(request.match_info["card"])
    store = None if card is None else host.stores.get(card.store)
    if card is None or store is None:
        raise _unknown()
    return card, store


def _unknown() -> ProblemError:
    return ProblemError.make(404, "flashcard-not-found", "there is no such flashcard")


def _bounds(host: Host) -> tuple[int, int]:
    """Return the least and the most that may be paid, in satoshi: those of LNURL."""
    return host.settings.lnurl_min_sat, host.settings.lnurl_max_sat


def _csrf(host: Host, card: Flashcard) -> Csrf:
    return Csrf(host, f"top up {card.id}")
