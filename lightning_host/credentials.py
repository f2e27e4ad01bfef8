"""What a caller shows: read, compared without telling by the time it takes, and kept as a digest only."""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from connection_strings import Secret

__all__ = [
    "EVERYTHING",
    "READING",
    "RECEIVING",
    "Permission",
    "as_bytes",
    "basic_password",
    "digest_of",
    "matches",
    "token_of",
]


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
    return hmac.compare_digest(as_bytes(shown), as_bytes(secret.reveal()))


def digest_of(code: str) -> str:
    """Return what is kept of a one-time code or a session's token: enough to know it again, not enough to use it."""
    return hashlib.sha256(as_bytes(code)).hexdigest()


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


def as_bytes(text: str) -> bytes:
    """Return the bytes of any text that a request can hold, half a character included."""
    return text.encode(errors="surrogatepass")
