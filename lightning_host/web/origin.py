"""Requests that another site has a browser send: refused where they would do something.

A browser sends cached Basic credentials and reaches services on loopback for any page that asks it to. It tells where a
request comes from: `Sec-Fetch-Site`, and `Origin` with everything that is no plain GET; the former decides, since an
`Origin` may be hidden from the site's own pages, too. Programs send neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from yarl import URL

from lightning_host.host import HOST
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

__all__ = ["is_foreign", "refuse_foreign"]

_HARMLESS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_OWN_SITES: Final = ("same-origin", "none")


@web.middleware
async def refuse_foreign(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nothing through that a page of another origin sent in order to change something or to open a WebSocket.

    Raises:
        ProblemError: A foreign page sent it (403).

    """
    changes = request.method not in _HARMLESS or hdrs.UPGRADE in request.headers
    if changes and is_foreign(request):
        raise ProblemError.make(403, "foreign-origin", "this request comes from a page of another site")
    return await handler(request)


def is_foreign(request: web.Request) -> bool:
    """Whether a browser says that a page of another origin sent this request."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get(hdrs.ORIGIN)
    if site is not None:
        return site not in _OWN_SITES
    if origin is None:
        return False
    scheme = origin.partition("://")[0]
    own = (request.app[HOST].settings.base_url, f"{scheme}://{request.headers.get(hdrs.HOST, '')}")
    authority = _authority(origin)
    return authority is None or authority not in {_authority(each) for each in own}


def _authority(origin: str) -> str | None:
    """Return host and port of an origin in lower case, None for `null` and other things that name none."""
    try:
        url = URL(origin)
    except ValueError:
        return None
    return f"{url.host}:{url.port}" if url.host else None
