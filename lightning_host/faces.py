"""The faces of this host; a new one is added here, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lightning_host.checkout import CHECKOUT
from lightning_host.flashcards import FLASHCARD_LNURL, FLASHCARDS
from lightning_host.front import FRONT
from lightning_host.greenfield import GREENFIELD
from lightning_host.health import HEALTH
from lightning_host.lnurl import LNURL
from lightning_host.lnurl_pages import ADDRESS_PAGES
from lightning_host.metrics import METRICS
from lightning_host.pages import PAGES
from lightning_host.phoenixd import PHOENIXD
from lightning_host.webhooks import WEBHOOKS

if TYPE_CHECKING:
    from lightning_host.face import Face

__all__ = ["FACES"]

FACES: Final[tuple[Face, ...]] = (
    GREENFIELD,
    HEALTH,
    METRICS,
    LNURL,
    ADDRESS_PAGES,
    PHOENIXD,
    PAGES,
    FRONT,
    CHECKOUT,
    FLASHCARDS,
    FLASHCARD_LNURL,
    WEBHOOKS,
)
"""Each shows the same stores to another kind of client."""
