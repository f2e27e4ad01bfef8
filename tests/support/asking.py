"""HTTP requests, by httpx, to programs on this machine.

Each client of httpx reads all authorities of the machine first, also if it only asks `http://`: 50 ms of computing, and
tests ask many times until something is so. These clients know none, so that they ask nobody by TLS.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Final

import httpx

__all__ = ["PLAIN", "delete", "get", "post", "request"]

PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What a client is given as `verify`."""

delete = partial(httpx.delete, verify=PLAIN)
get = partial(httpx.get, verify=PLAIN)
post = partial(httpx.post, verify=PLAIN)
request = partial(httpx.request, verify=PLAIN)
