"""Flashcards for shops: `/api/v1/stores/{store}/flashcards`, in the manner of BTCPay's Greenfield API.

    POST  {"name"?}                             makes a card
    GET   ?before=&after=&skip=&take=           lists the cards
    GET   /{id}                                 tells name, balance, LNURL and page
    GET   /{id}/history?before=&after=&skip=&take=
                                                tells what was paid to it, newest first
    POST  /{id}/topups {"amount": "1000000"}    opens a checkout that tops it up

Amounts are texts of millisatoshi, times are seconds since 1970.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lightning_host.checkout.api import checkout_json, read_amount
from lightning_host.checkout.service import SERVICE
from lightning_host.credentials import Permission
from lightning_host.flashcards.lnurl import card_lnurl
from lightning_host.flashcards.table import FlashcardTable
from lightning_host.host import HOST
from lightning_host.web.api_access import opened_store, part_of
from lightning_host.web.bodies import read_json
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from lightning_host.flashcards.table import Flashcard, TopUp
    from lightning_host.host import Host
    from lightning_host.stores import Store

__all__ = ["add_card_api"]


def add_card_api(app: web.Application) -> None:
    """Add the routes of the API."""
    base = "/api/v1/stores/{store}/flashcards"
    one = f"{base}/{{card}}"
    app.add_routes(
        [
            web.post(base, _make),
            web.get(base, _list),
            web.get(one, _get),
            web.get(f"{one}/history", _history),
            web.post(f"{one}/topups", _top_up),
        ]
    )


async def _make(request: web.Request) -> web.Response:
    store, host = await opened_store(request, Permission.MODIFY_STORE), request.app[HOST]
    fields = await read_json(request, host.settings.request_seconds)
    with fields.together("name"):
        name = fields.text("name", default="", longest=100)
        if not name.isprintable():
            fields.note("name", "must be one line of visible characters")
    return web.json_response(_card_json(host, await FlashcardTable(host.database).add(store.id, name)))


async def _list(request: web.Request) -> web.Response:
    store, host = await opened_store(request, Permission.VIEW_INVOICES), request.app[HOST]
    rows = FlashcardTable(host.database)

    async def find(card_id: str) -> Flashcard | None:
        found = await rows.find(card_id)
        return found if found is not None and found.store == store.id else None

    part = await part_of(request, find)
    cards = await rows.page(store.id, before=part.before, after=part.after, offset=part.skip, limit=part.take)
    return web.json_response([_card_json(host, card) for card in cards])


async def _get(request: web.Request) -> web.Response:
    store = await opened_store(request, Permission.VIEW_INVOICES)
    return web.json_response(_card_json(request.app[HOST], await _card(request, store)))


async def _history(request: web.Request) -> web.Response:
    card = await _card(request, await opened_store(request, Permission.VIEW_INVOICES))
    rows = FlashcardTable(request.app[HOST].database)
    part = await part_of(request, partial(rows.find_top_up, card))
    history = await rows.history(card, before=part.before, after=part.after, offset=part.skip, limit=part.take)
    return web.json_response([_top_up_json(top_up) for top_up in history])


async def _top_up(request: web.Request) -> web.Response:
    store = await opened_store(request, Permission.CREATE_INVOICES)
    card, host, service = await _card(request, store), request.app[HOST], request.app[SERVICE]
    fields = await read_json(request, host.settings.request_seconds)
    with fields.together("amount"):
        amount = read_amount(fields)
    checkout = await service.open(
        store,
        amount,
        description=f"Top up flashcard {card.name}".strip(),
        redirect_url=host.url(f"/flashcards/{card.id}"),
        card=card.id,
    )
    return web.json_response(checkout_json(service, checkout))


async def _card(request: web.Request, store: Store) -> Flashcard:
    card = await FlashcardTable(request.app[HOST].database).find(request.match_info["card"])
    if card is None or card.store != store.id:
        raise ProblemError.make(404, "flashcard-not-found", "there is no such flashcard")
    return card


def _card_json(host: Host, card: Flashcard) -> dict[str, Any]:
    return {
        "id": card.id,
        "storeId": card.store,
        "name": card.name,
        "balance": str(card.balance.msat),
        "lnurl": card_lnurl(host, card),
        "pageLink": host.url(f"/flashcards/{card.id}"),
        "createdAt": int(card.created_at.timestamp()),
    }


def _top_up_json(top_up: TopUp) -> dict[str, Any]:
    return {
        "paymentHash": top_up.payment_hash,
        "amount": str(top_up.amount.msat),
        "way": top_up.way,
        "comment": top_up.comment,
        "paidAt": int(top_up.paid_at.timestamp()),
    }
