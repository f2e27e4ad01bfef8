"""Comparing what a caller shows with what is configured, without telling by the time it takes."""

from __future__ import annotations

import base64
import enum
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from connection_strings import Secret

__all__ = ["EVERYTHING", "READING", "RECEIVING", "Permission", "basic_password", "matches", "token_of"]


class Permission(enum.StrEnum):
    """What a key of a store may do, in BTCPay's words."""

    VIEW_LIGHTNING_INVOICES = "btcpay.store.canviewlightninginvoice"
    CREATE_LIGHTNING_INVOICES = "btcpay.store.cancreatelightninginvoice"
    USE_LIGHTNING_NODE = "btcpay.store.canuselightningnode"
    """See balance and payments, and pay."""
    VIEW_INVOICES = "btcpay.store.canviewinvoices"
    """See checkouts and flashcards."""
    CREATE_INVOICES = "btcpay.store.cancreateinvoice"
    """Open checkouts, top flashcards up."""
    MODIFY_STORE = "btcpay.store.canmodifystoresettings"
    """Make flashcards."""
    MODIFY_WEBHOOKS = "btcpay.store.webhooks.canmodifywebhooks"


READING: Final = frozenset({Permission.VIEW_LIGHTNING_INVOICES, Permission.VIEW_INVOICES})
"""What a read-only key may do."""

RECEIVING: Final = READING | {Permission.CREATE_LIGHTNING_INVOICES, Permission.CREATE_INVOICES}
"""What a receive-only key may do."""

EVERYTHING: Final = frozenset(Permission)
"""What a store's own key may do."""


def matches(shown: str, secret: Secret) -> bool:
    """Whether a text is the secret; takes the same time wherever they differ."""
    return hmac.compare_digest(_bytes(shown), _bytes(secret.reveal()))


def token_of(header: str) -> str | None:
    """Read `Authorization: token KEY`, as BTCPay's Greenfield API has it; None when it is something else."""
    scheme, _, key = header.strip().partition(" ")
    return key.strip() or None if scheme.lower() == "token" else None


def basic_password(header: str) -> str | None:
    """Read the password of `Authorization: Basic ...` (RFC 7617), whatever the user's name; None without one."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return None  # no Base64, not ASCII, or no UTF-8
    _, colon, password = pair.partition(":")
    return password if colon and password else None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
