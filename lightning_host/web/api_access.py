"""Who may use the API of a store: callers that show one of its keys, as with BTCPay's Greenfield API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from aiohttp import hdrs

from lightning_host.client_address import client_key
from lightning_host.credentials import basic_password, token_of
from lightning_host.host import HOST
from lightning_host.web.bodies import Fields
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from lightning_host.credentials import Permission
    from lightning_host.stores import Store

__all__ = ["Part", "offered_protocols", "opened_store", "opened_stores", "part_of", "store_of_password"]

_MOST_AT_ONCE = 100
_MOST_PASSWORDS = 2
"""How many of the offered subprotocols are tried: a name and the password."""
_LONGEST_ID = 128
_ListedT = TypeVar("_ListedT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[_ListedT]):
    """Which part of a list is asked for: `take` of those before or after a row, or those behind `skip` of them."""

    before: _ListedT | None
    after: _ListedT | None
    skip: int
    take: int


async def opened_store(request: web.Request, permission: Permission) -> Store:
    """Return the store that the path names, if the request's key opens it and may do what is asked for.

    Raises:
        ProblemError: There is no key or a wrong one (401), or it opens another store, or may do less (403).

    """
    for store in await opened_stores(request, permission):
        if store.id == request.match_info["store"]:
            return store
    raise ProblemError.make(403, "missing-permission", "this key opens another store", permission=permission)


async def opened_stores(request: web.Request, permission: Permission) -> list[Store]:
    """Return the stores that the request's key opens for what is asked for, one or more.

    Raises:
        ProblemError: There is no key or a wrong one (401), or it may do less everywhere (403).

    """
    host = request.app[HOST]
    key = token_of(request.headers.get("Authorization", ""))
    opened = () if key is None else host.stores.by_key(key)
    if not opened:
        if key is not None:
            await host.wrong_keys.slow_down(client_key(request, host.settings.trusted_proxies))
        raise ProblemError.make(
            401,
            "unauthenticated",
            "show a key of the store: Authorization: token KEY",
            headers={"WWW-Authenticate": "token"},
        )
    permitted = [store for store, permissions in opened if permission in permissions]
    if not permitted:
        raise ProblemError.make(403, "missing-permission", "this key may do less", permission=permission)
    return permitted


async def store_of_password(request: web.Request, *, pays: bool) -> Store:
    """Return the store that the request's password opens (phoenixd's API: any user name, the store's password).

    A browser can't set `Authorization` for a WebSocket: there the password may be an offered subprotocol.

    Raises:
        ProblemError: There is no password, it opens no store, or may do less (401, as phoenixd answers).

    """
    host = request.app[HOST]
    passwords = _passwords(request)
    opened = next(filter(None, map(host.stores.by_password, passwords)), None)
    challenge = {"WWW-Authenticate": 'Basic realm="phoenixd"'}
    if opened is None:
        if passwords:
            await host.wrong_keys.slow_down(client_key(request, host.settings.trusted_proxies))
        raise ProblemError.make(401, "unauthenticated", "the password is missing or wrong", headers=challenge)
    store, may_pay = opened
    if pays and not may_pay:
        raise ProblemError.make(401, "unauthenticated", "this password does not allow to pay", headers=challenge)
    return store


def offered_protocols(request: web.Request) -> list[str]:
    """Return the subprotocols that a WebSocket's client offers; none of what is no WebSocket."""
    if hdrs.UPGRADE not in request.headers:
        return []
    return [name.strip() for name in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",") if name.strip()]


def _passwords(request: web.Request) -> list[str]:
    password = basic_password(request.headers.get(hdrs.AUTHORIZATION, ""))
    return offered_protocols(request)[:_MOST_PASSWORDS] if password is None else [password]


async def part_of(request: web.Request, find: Callable[[str], Awaitable[_ListedT | None]]) -> Part[_ListedT]:
    """Read `before` or `after`, an id, or `skip`; and `take` or `count`, which is BTCPay's name for it with deliveries.

    Args:
        request: The request.
        find: Gives the row with an id if it is in the list.

    Raises:
        ProblemError: An id is of no row of the list, a number is out of range, two are said of which one is
            possible, or there is another parameter (422).

    """
    query = Fields(request.query)
    rows: dict[str, _ListedT] = {}
    with query.together("before", "after", "skip", "take", "count"):
        skip = query.whole("skip", default=0, most=2**31)
        take = query.whole("count" if "count" in query else "take", default=_MOST_AT_ONCE, most=_MOST_AT_ONCE)
        ids = {name: query.text(name, longest=_LONGEST_ID) for name in ("before", "after") if name in query}
        if len(ids) + (skip > 0) > 1:
            query.note(next(iter(ids)), "must be the only one of before, after and skip")
            ids = {}
        for name, row_id in ids.items():
            if (row := await find(row_id)) is not None:
                rows[name] = row
            else:
                query.note(name, "must be the id of something in this list")
    return Part(before=rows.get("before"), after=rows.get("after"), skip=skip, take=take)
