"""QR codes as SVG: drawn here, served from this host, no picture of anybody else's."""

from __future__ import annotations

import io
from typing import Final

import segno
from aiohttp import web

__all__ = ["qr_response"]

_QUIET_ZONE: Final = 3


def qr_response(text: str) -> web.Response:
    """Draw a text that counts the same in capitals (BOLT 11, bech32): capitals make a coarser, more readable code."""
    drawn = io.BytesIO()
    code = segno.make(text.upper(), error="l", boost_error=False, micro=False)
    code.save(drawn, kind="svg", border=_QUIET_ZONE, dark="#0b1220", light="#ffffff", omitsize=True, xmldecl=False)
    # What is drawn for an address never changes.
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return web.Response(body=drawn.getvalue(), content_type="image/svg+xml", headers=headers)
