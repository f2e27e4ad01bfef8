"""The route_groups of this host; a new one is added here, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lightning_host.checkout.routes import CHECKOUT, CHECKOUT_LNURL
from lightning_host.flashcards.routes import FLASHCARD_LNURL, FLASHCARDS
from lightning_host.greenfield.routes import GREENFIELD
from lightning_host.lnurl.pages import ADDRESS_PAGES
from lightning_host.lnurl.routes import LNURL
from lightning_host.merchant.routes import MERCHANT
from lightning_host.monitoring.health import HEALTH
from lightning_host.monitoring.metrics import METRICS
from lightning_host.phoenixd.routes import PHOENIXD
from lightning_host.server.front import FRONT
from lightning_host.server.openapi import OPENAPI
from lightning_host.web.pages import PAGES
from lightning_host.webhooks.routes import WEBHOOKS

if TYPE_CHECKING:
    from lightning_host.web.route_group import RouteGroup

__all__ = ["ROUTE_GROUPS"]

ROUTE_GROUPS: Final[tuple[RouteGroup, ...]] = (
    GREENFIELD,
    HEALTH,
    METRICS,
    LNURL,
    ADDRESS_PAGES,
    PHOENIXD,
    PAGES,
    FRONT,
    OPENAPI,
    CHECKOUT,
    CHECKOUT_LNURL,
    FLASHCARDS,
    FLASHCARD_LNURL,
    WEBHOOKS,
    MERCHANT,
)
"""Each shows the same stores to another kind of client."""
