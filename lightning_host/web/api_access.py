"""Who may use the API of a store: whoever shows one of its keys, as with BTCPay's Greenfield API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_host.credentials import token_of
from lightning_host.host import HOST
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp import web

    from lightning_host.stores import Store

__all__ = ["opened_store", "page_of"]

_MOST_AT_ONCE = 100


def opened_store(request: web.Request) -> Store:
    """Return the store of the path, if the request's key opens it.

    Raises:
        ProblemError: There is no key (401), or it opens another store or none (401, 403).

    """
    stores = request.app[HOST].stores
    key = token_of(request.headers.get("Authorization", ""))
    opened = () if key is None else stores.by_key(key)
    if not opened:
        raise ProblemError.make(
            401,
            "unauthenticated",
            "show a key of the store: Authorization: token KEY",
            headers={"WWW-Authenticate": "token"},
        )
    for store in opened:
        if store.id == request.match_info["store"]:
            return store
    raise ProblemError.make(403, "missing-permission", "this key opens another store")


def page_of(request: web.Request) -> tuple[int, int]:
    """Read `skip` and `take` of a list.

    Raises:
        ProblemError: One is no number in range (422).

    """
    numbers = []
    for name, default, most in (("skip", 0, 2**31), ("take", _MOST_AT_ONCE, _MOST_AT_ONCE)):
        text = request.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
            raise ProblemError.make(422, "validation-error", f"must be a whole number up to {most}", field=name)
        numbers.append(int(text))
    return numbers[0], numbers[1]
