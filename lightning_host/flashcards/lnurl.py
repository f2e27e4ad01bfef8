"""A card's own LNURL-pay link: a wallet that scans it tops the card up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lightning_host.flashcards.table import PURPOSE, FlashcardTable
from lightning_host.host import HOST
from lightning_host.lnurl.pay import PayTarget, lnurl_of, pay_callback, pay_request, with_preflight
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp import web

    from lightning_host.flashcards.table import Flashcard
    from lightning_host.host import Host

__all__ = ["LNURL_PREFIX", "add_card_lnurl", "card_lnurl", "card_lnurl_path"]

LNURL_PREFIX: Final = "/flashcard-lnurl/"


def add_card_lnurl(app: web.Application) -> None:
    """Add link and callback."""
    app.add_routes(with_preflight(LNURL_PREFIX + "{address}", _link))
    app.add_routes(with_preflight(LNURL_PREFIX + "{address}/callback", _callback))


def card_lnurl_path(card: Flashcard) -> str:
    """Return the path that the card's LNURL encodes."""
    return f"{LNURL_PREFIX}{card.address}"


def card_lnurl(host: Host, card: Flashcard) -> str:
    """Return the card's LNURL (LUD-01)."""
    return lnurl_of(host, card_lnurl_path(card))


async def _link(request: web.Request) -> web.Response:
    """Answer the link (LUD-06)."""
    return pay_request(request.app[HOST], await _target(request))


async def _callback(request: web.Request) -> web.Response:
    """Make the invoice that a wallet asks for (LUD-06)."""
    return await pay_callback(request.app[HOST], await _target(request), request)


async def _target(request: web.Request) -> PayTarget:
    host = request.app[HOST]
    card = await FlashcardTable(host.database).find_by_address(request.match_info["address"])
    store = None if card is None else host.stores.get(card.store)
    if card is None or store is None:
        raise ProblemError.make(404, "flashcard-not-found", "there is no such flashcard")
    return PayTarget(
        store=store,
        purpose=PURPOSE,
        subject=card.address,
        callback_path=f"{card_lnurl_path(card)}/callback",
        text=f"Top up flashcard {card.name}".strip(),
        thanks="Thank you! The flashcard has been topped up.",
    )
