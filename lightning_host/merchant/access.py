"""Who may read the merchant's page: sessions of browsers, and links that open one session each.

Both are random tokens of which the database keeps the SHA-256 only. A session that was opened with an API key of the
store is good for what that key may do now: it ends when the key is taken out of the settings.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, delete, insert, select

from connection_strings import Secret
from lightning_host.credentials import EVERYTHING, READING, Permission, as_bytes, digest_of
from lightning_host.database import from_ms, metadata, now_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from lightning_host.database import Database
    from lightning_host.stores import Stores

__all__ = ["LINK_TIME", "SESSION_TIME", "MerchantAccess", "Session"]

SESSION_TIME: Final = timedelta(hours=12)
"""How long a browser stays logged in."""

LINK_TIME: Final = timedelta(minutes=10)
"""How long a link can be used, unless its maker says otherwise."""

_TOKEN_BYTES: Final = 32
_LINK: Final = "link"
_SESSION: Final = "session"
_access: Final = Table(
    "host_merchant_access",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("store", String(64)),
    Column("key_proof", String(64)),
    Column("changes", Boolean, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("host_merchant_access_by_time", "expires_at"),
)
"""`store` is None where `key_proof` tells which key opened the session: then it opens what that key opens."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in.

    Attributes:
        id: What tells it from others; not what opens it.
        permissions: What it may do, by the id of each store that it opens.
        expires_at: When it ends.

    """

    id: str
    permissions: Mapping[str, frozenset[Permission]]
    expires_at: datetime


class MerchantAccess:
    """Makes, finds and ends sessions and links.

    Args:
        database: Where they are remembered, for all replicas.
        stores: Whose keys open sessions.

    """

    def __init__(self, database: Database, stores: Stores) -> None:
        self._database = database
        self._stores = stores

    async def make_link(self, store_id: str, *, changes: bool, lasts: timedelta = LINK_TIME) -> Secret:
        """Return what opens one session of a store, once, until its time is over."""
        token = _new_token()
        await self._add(token, _LINK, lasts, store=store_id, key_proof=None, changes=changes)
        return token

    async def open(self, shown: Secret, *, changes: bool) -> Secret | None:
        """Open a session for an API key or for the token of a link; None when it is neither.

        Args:
            shown: What somebody shows.
            changes: Whether the session may do more than read, where key or link allow it.

        """
        token = _new_token()
        if self._opened_by(shown):
            await self._add(token, _SESSION, SESSION_TIME, store=None, key_proof=_proof(token, shown), changes=changes)
            return token
        of_link = (
            _access.c.digest == digest_of(shown.reveal()),
            _access.c.kind == _LINK,
            _access.c.expires_at > now_ms(),
        )
        used = delete(_access).where(*of_link).returning(_access.c.store, _access.c.changes)

        def use(connection: Connection) -> bool:  # used and opened, or neither
            link = connection.execute(used).one_or_none()
            if link is None:
                return False
            row = _row(
                token, _SESSION, SESSION_TIME, store=link.store, key_proof=None, changes=changes and link.changes
            )
            connection.execute(insert(_access).values(row))
            return True

        return token if await self._database.write(use) else None

    async def find(self, token: Secret) -> Session | None:
        """Return the session that a browser's token opens; None when there is none any more."""
        query = select(_access).where(_access.c.digest == digest_of(token.reveal()), _access.c.kind == _SESSION)
        query = query.where(_access.c.expires_at > now_ms())
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return None
        if row.key_proof is not None:
            opened = self._proven(token, row.key_proof)
        else:
            opened = {row.store: EVERYTHING} if self._stores.get(row.store) is not None else {}
        bounds = EVERYTHING if row.changes else READING
        permissions = {store: may & bounds for store, may in opened.items() if Permission.VIEW_INVOICES in may}
        return Session(row.digest, permissions, from_ms(row.expires_at)) if permissions else None

    async def end(self, session: Session) -> None:
        """Log a browser out."""
        ended = delete(_access).where(_access.c.digest == session.id)
        await self._database.write(lambda connection: connection.execute(ended))

    async def _add(
        self, token: Secret, kind: str, lasts: timedelta, *, store: str | None, key_proof: str | None, changes: bool
    ) -> None:
        """Remember a token, and forget those whose time is over."""
        row = _row(token, kind, lasts, store=store, key_proof=key_proof, changes=changes)

        def add(connection: Connection) -> None:
            connection.execute(delete(_access).where(_access.c.expires_at <= now_ms()))
            connection.execute(insert(_access).values(row))

        await self._database.write(add)

    def _opened_by(self, shown: Secret) -> bool:
        return any(Permission.VIEW_INVOICES in may for _, may in self._stores.by_key(shown.reveal()))

    def _proven(self, token: Secret, proof: str) -> dict[str, frozenset[Permission]]:
        """Return what the key that opened a session opens now, by store: nothing once it is not in the settings."""
        return {
            store.id: may
            for store in self._stores
            for key, may in store.keys
            if hmac.compare_digest(_proof(token, key), proof)
        }


def _new_token() -> Secret:
    return Secret(secrets.token_urlsafe(_TOKEN_BYTES))


def _proof(token: Secret, key: Secret) -> str:
    """Return what shows, to those who have the session's token only, which key opened it."""
    return hmac.new(as_bytes(token.reveal()), as_bytes(key.reveal()), hashlib.sha256).hexdigest()


def _row(
    token: Secret, kind: str, lasts: timedelta, *, store: str | None, key_proof: str | None, changes: bool
) -> dict[str, object]:
    return {
        "digest": digest_of(token.reveal()),
        "kind": kind,
        "store": store,
        "key_proof": key_proof,
        "changes": changes,
        "expires_at": now_ms() + lasts // timedelta(milliseconds=1),
    }
