"""Flashcards: cards with a balance. Anybody can top one up; who holds it pays with it by a tap.

`table.py` remembers cards and credits them; `lnurl.py`, `pages.py`, `api.py` show them. A tap is read by `sun.py` and
answered by `withdraw.py`; `taps.py` moves its money, within `limits.py`, and `payments.py` pays. `keys.py` and
`chips.py` keep the keys, which `programming.py` tells the app that writes them; `spending_api.py` is for the shop.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from lightning_host.flashcards.api import add_card_api
from lightning_host.flashcards.lnurl import LNURL_PREFIX, add_card_lnurl
from lightning_host.flashcards.pages import add_card_pages
from lightning_host.flashcards.payments import resolve_card_payments
from lightning_host.flashcards.programming import KEYS_PATH, add_card_programming
from lightning_host.flashcards.spending_api import add_spending_api
from lightning_host.flashcards.table import settle_flashcards
from lightning_host.flashcards.withdraw import CHIP_PREFIX, add_card_withdraw
from lightning_host.lnurl.pay import tell_lnurl
from lightning_host.tasks import TaskSet
from lightning_host.web.pages import tell_page
from lightning_host.web.problems import tell_plainly
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from lightning_host.host import Host

__all__ = ["FLASHCARDS", "FLASHCARD_KEYS", "FLASHCARD_LNURL", "FLASHCARD_TAP"]


def _add_routes(app: web.Application) -> None:
    add_card_pages(app)
    add_card_api(app)
    add_spending_api(app)


@asynccontextmanager
async def _live(host: Host) -> AsyncIterator[None]:
    """Credit what is paid to cards, and settle what is paid with them."""
    host.settlements.on_settled(settle_flashcards)
    tasks = TaskSet()
    tasks.start(resolve_card_payments(host), "settle payments of cards")
    try:
        yield
    finally:
        await tasks.aclose()


FLASHCARDS: Final = RouteGroup(
    name="flashcards",
    prefixes=("/flashcards/",),
    add_routes=_add_routes,
    tell=tell_page,
    lifespan=_live,
)
"""`/flashcards/...` and `/api/v1/stores/{store}/flashcards`."""

FLASHCARD_LNURL: Final = RouteGroup(
    name="flashcard-lnurl", prefixes=(LNURL_PREFIX,), add_routes=add_card_lnurl, tell=tell_lnurl
)
"""What a card's LNURL leads to."""

FLASHCARD_TAP: Final = RouteGroup(
    name="flashcard-tap", prefixes=(CHIP_PREFIX,), add_routes=add_card_withdraw, tell=tell_lnurl
)
"""What the URL in a card's chip leads to: tap to pay."""

FLASHCARD_KEYS: Final = RouteGroup(
    name="flashcard-keys", prefixes=(KEYS_PATH,), add_routes=add_card_programming, tell=tell_plainly
)
"""What an app that writes cards asks."""
