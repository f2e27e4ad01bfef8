"""Flashcards: cards with a balance that anybody can top up, by scanning them or on their page.

`flashcards_rows.py` remembers and credits; `flashcards_lnurl.py`, `flashcards_pages.py`, `flashcards_api.py` show it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from lightning_host.flashcards.api import add_card_api
from lightning_host.flashcards.lnurl import LNURL_PREFIX, add_card_lnurl
from lightning_host.flashcards.pages import add_card_pages
from lightning_host.flashcards.table import settle_flashcards
from lightning_host.lnurl.pay import tell_lnurl
from lightning_host.web.pages import tell_page
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from lightning_host.host import Host

__all__ = ["FLASHCARDS", "FLASHCARD_LNURL"]


def _add_routes(app: web.Application) -> None:
    add_card_pages(app)
    add_card_api(app)


@asynccontextmanager
async def _handle_settlements(host: Host) -> AsyncIterator[None]:
    host.settlements.on_settled(settle_flashcards)
    yield


FLASHCARDS: Final = RouteGroup(
    name="flashcards",
    prefixes=("/flashcards/",),
    add_routes=_add_routes,
    tell=tell_page,
    lifespan=_handle_settlements,
)
"""`/flashcards/...` and `/api/v1/stores/{store}/flashcards`."""

FLASHCARD_LNURL: Final = RouteGroup(
    name="flashcard-lnurl", prefixes=(LNURL_PREFIX,), add_routes=add_card_lnurl, tell=tell_lnurl
)
"""What a card's LNURL leads to."""
