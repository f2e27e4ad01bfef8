"""Logging in and out: a key of the store, or a link that opens one session.

The token of a link stands behind the `#` of its URL, which a browser sends to nobody: no log has it, and a program that
looks at links in messages does not use it up. The page puts it into the form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from aiohttp import web

from connection_strings import Secret
from lightning_host.client_address import client_key
from lightning_host.host import HOST
from lightning_host.merchant.access import SESSION_TIME, MerchantAccess
from lightning_host.web.bodies import read_form
from lightning_host.web.csrf import FORM_FIELD, Csrf
from lightning_host.web.pages import render
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from lightning_host.credentials import Permission
    from lightning_host.host import Host
    from lightning_host.merchant.access import Session
    from lightning_host.stores import Store
    from lightning_host.web.bodies import Fields

__all__ = ["FRONT_PATH", "LOG_IN", "Visit", "add_login", "visit_of"]

FRONT_PATH: Final = "/merchant"
LOG_IN: Final = "log-in"
"""The code of the problem that a page can be read after logging in only."""

_LONGEST: Final = 500
_PURPOSE: Final = "merchant login"


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a browser that is logged in.

    Attributes:
        host: The host.
        store: The store that the path names.
        session: What the browser may do.

    """

    host: Host
    store: Store
    session: Session

    @property
    def path(self) -> str:
        """Where the pages of the store begin."""
        return f"{FRONT_PATH}/{self.store.id}"

    @property
    def zone(self) -> ZoneInfo:
        """Where the merchant's days begin."""
        return ZoneInfo(self.host.settings.time_zone)

    @property
    def csrf(self) -> Csrf:
        """What makes and checks the forms of this session."""
        return Csrf(self.host, f"merchant {self.session.id}")

    def may(self, permission: Permission) -> bool:
        """Whether the session may do something with the store."""
        return permission in self.session.permissions[self.store.id]


def add_login(app: web.Application) -> None:
    """Add the routes."""
    app.add_routes(
        [
            web.get(FRONT_PATH, _front),
            web.post(FRONT_PATH, _log_in),
            web.post(FRONT_PATH + "/{store}/logout", _log_out),
        ]
    )


async def visit_of(request: web.Request) -> Visit:
    """Return whose page is asked for, and by whom.

    Raises:
        ProblemError: The browser is not logged in (401), or the session opens no such store (404).

    """
    host, session = request.app[HOST], await _session(request)
    if session is None:
        raise ProblemError.make(401, LOG_IN, "please log in", headers={"WWW-Authenticate": "Cookie"})
    store = host.stores.get(request.match_info["store"])
    if store is None or store.id not in session.permissions:
        raise ProblemError.make(404, "store-not-found", "there is no such store, or another login opens it")
    return Visit(host, store, session)


async def _front(request: web.Request) -> web.Response:
    """Show the form, or lead a browser that is logged in to its store."""
    session = await _session(request)
    if session is not None:
        # With a fragment of its own, so that the browser does not carry that of a link along.
        raise web.HTTPFound(f"{FRONT_PATH}/{next(iter(session.permissions))}#merchant")
    return await _form(request)


async def _log_in(request: web.Request) -> web.Response:
    host = request.app[HOST]
    form = await read_form(request, host.settings.request_seconds)
    await Csrf(host, _PURPOSE).check(request, form)
    access = MerchantAccess(host.database, host.stores)
    token = await access.open(_shown(form), changes=form.text("changes", default="", longest=10) == "yes")
    if token is None:
        await host.wrong_keys.slow_down(client_key(request, host.settings.trusted_proxies))
        return await _form(request, refused=True)
    session = await access.find(token)
    if session is None:  # the link's store is not in the settings any more
        return await _form(request, refused=True)
    response = web.Response(
        status=303, headers={"Location": f"{FRONT_PATH}/{next(iter(session.permissions))}"}, text="logged in"
    )
    response.set_cookie(
        _cookie(host),
        token.reveal(),
        max_age=int(SESSION_TIME.total_seconds()),
        httponly=True,
        secure=_is_secure(host),
        samesite="Strict",
        path="/",
    )
    return response


async def _log_out(request: web.Request) -> web.Response:
    host = request.app[HOST]
    form = await read_form(request, host.settings.request_seconds)
    visit = await visit_of(request)
    await visit.csrf.check(request, form)
    await MerchantAccess(host.database, host.stores).end(visit.session)
    response = web.Response(status=303, headers={"Location": FRONT_PATH}, text="logged out")
    response.del_cookie(_cookie(host), path="/", secure=_is_secure(host), httponly=True, samesite="Strict")
    return response


async def _form(request: web.Request, *, refused: bool = False) -> web.Response:
    """Show the form to log in."""
    csrf = Csrf(request.app[HOST], _PURPOSE)
    nonce, token = await csrf.token(request)
    response = render(
        "merchant_login.html",
        status=401 if refused else 200,
        refused=refused,
        hours=int(SESSION_TIME.total_seconds() // 3600),
        form_field=FORM_FIELD,
        form_token=token,
    )
    if refused:
        response.headers["WWW-Authenticate"] = "Cookie"
    csrf.remember(response, nonce)
    return response


async def _session(request: web.Request) -> Session | None:
    host = request.app[HOST]
    token = Secret(request.cookies.get(_cookie(host), ""))
    return await MerchantAccess(host.database, host.stores).find(token) if token else None


def _shown(form: Fields) -> Secret:
    return Secret(form.text("key", default="", longest=_LONGEST).strip())


def _is_secure(host: Host) -> bool:
    return host.settings.base_url.startswith("https://")


def _cookie(host: Host) -> str:
    # With this prefix a browser takes the cookie from this very host only, not from a neighbour in the domain.
    return "__Host-merchant" if _is_secure(host) else "merchant"
