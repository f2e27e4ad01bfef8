"""Forms that only this host's own pages can send.

A page sets a cookie with a random nonce and puts an HMAC of nonce and purpose into its form; the key is in the
database, so any replica can check what another has made. A foreign site can make a browser send neither the cookie
(SameSite) nor a form value that fits it. Browsers that tell where a request comes from (`Sec-Fetch-Site`) are believed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final

from sqlalchemy import Column, String, Table, select

from lightning_host.database import insert_if_new, metadata
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp import web
    from sqlalchemy import Connection

    from lightning_host.host import Host
    from lightning_host.web.bodies import Fields

__all__ = ["FORM_FIELD", "Csrf"]

FORM_FIELD: Final = "form_token"

_keys: Final = Table(
    "host_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(64), nullable=False),
)
_NAME: Final = "csrf"
_NONCE_BYTES: Final = 24


class Csrf:
    """Makes and checks the tokens of forms.

    Args:
        host: Whose forms they are.
        purpose: What the form does, so that its token is good for nothing else.

    """

    def __init__(self, host: Host, purpose: str) -> None:
        self._host = host
        self._purpose = purpose
        self._secure = host.settings.base_url.startswith("https://")
        # With this prefix a browser takes the cookie from this very host only, not from a neighbour in the domain.
        self._cookie = "__Host-form" if self._secure else "form"

    async def token(self, request: web.Request) -> tuple[str, str]:
        """Return the browser's nonce, a new one if it has none, and the token that fits it."""
        nonce = request.cookies.get(self._cookie) or secrets.token_urlsafe(_NONCE_BYTES)
        return nonce, await self._sign(nonce)

    def remember(self, response: web.Response, nonce: str) -> None:
        """Have the browser keep its nonce."""
        response.set_cookie(self._cookie, nonce, httponly=True, secure=self._secure, samesite="Strict", path="/")

    async def check(self, request: web.Request, form: Fields) -> None:
        """Let pass what one of this host's own pages has sent.

        Raises:
            ProblemError: Something else may have sent it (403).

        """
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        nonce = request.cookies.get(self._cookie, "")
        shown = form.text(FORM_FIELD, default="", longest=256)
        expected = await self._sign(nonce)
        fits = hmac.compare_digest(shown.encode(), expected.encode())
        if site not in ("same-origin", "none") or not nonce or not fits:
            raise ProblemError.make(
                403, "form-expired", "this form is out of date; go back, load the page again and retry"
            )

    async def _sign(self, nonce: str) -> str:
        message = f"{self._purpose}\n{nonce}".encode(errors="surrogatepass")
        return hmac.new(await self._key(), message, hashlib.sha256).hexdigest()

    async def _key(self) -> bytes:
        database = self._host.database
        query = select(_keys.c.value).where(_keys.c.name == _NAME)

        def make(connection: Connection) -> str:
            insert_if_new(connection, _keys, {"name": _NAME, "value": secrets.token_hex(32)})
            return str(connection.execute(query).scalar_one())

        found = await database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return bytes.fromhex(await database.write(make) if found is None else found)
