"""What people paste when they want to pay: a BOLT11, a Lightning address, an LNURL-pay link, or a link around one.

Pure; a payee behind an address or a link is asked in `payee`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from connection_strings.bolt11 import bech32
from connection_strings.errors import InvalidRequest

__all__ = ["PayLink", "other_than_bolt11", "pay_link", "read_destination"]

_ADDRESS: Final = re.compile(r"[a-z0-9_.+-]+@(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")
_LONGEST: Final = 7089
_LONGEST_URL: Final = 2000
_OTHER_LINKS: Final = {
    "lnurlw": "is an LNURL-withdraw link: it pays out to its reader and can't be paid",
    "lnurlc": "is an LNURL-channel link: it opens a channel and can't be paid",
    "keyauth": "is an LNURL-auth link: it logs in somewhere and can't be paid",
}
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class PayLink:
    """A payee who makes an invoice when asked over HTTP (LUD-06, LUD-16).

    Attributes:
        url: Where to ask for its terms.

    """

    url: str


def read_destination(text: str) -> str | PayLink:
    """Tell what somebody wants to pay: the text of a BOLT11, not read yet, or a payee to ask for one.

    Raises:
        InvalidRequest: It is something that can't be paid; says what it is.

    """
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise InvalidRequest("destination", "must be a BOLT11, a Lightning address or an LNURL-pay link")
    scheme, colon, rest = text.partition(":")
    match scheme.lower() if colon else "":
        case "lightning":
            return read_destination(rest.removeprefix("//"))
        case "bitcoin":
            return _read_bip21(rest)
        case "lnurlp":
            return pay_link(_over_http(rest.removeprefix("//")))
        case "http" | "https":
            return _read_fallback(text)
        case other if other in _OTHER_LINKS:
            raise InvalidRequest("destination", _OTHER_LINKS[other])
    return _read_bare(text)


def other_than_bolt11(text: str) -> str | None:
    """Say what a text is that was to be a BOLT11 and can't be read as one; None when it is nothing that is known."""
    if not text.strip() or len(text) > _LONGEST:
        return None
    try:
        meant = read_destination(text)
    except InvalidRequest as error:
        return error.reason
    if isinstance(meant, PayLink):
        return "is a Lightning address or an LNURL: its payee has to be asked for an invoice first"
    return "is a link around an invoice: hand in the invoice alone" if meant != text.strip() else None


def _read_bare(text: str) -> str | PayLink:
    """Read what has no scheme that is known."""
    lower = text.lower()
    if lower.startswith("lnurl1"):
        return pay_link(_decoded(lower))
    if "@" in text:
        if _ADDRESS.fullmatch(lower) is None:
            raise InvalidRequest("destination", "looks like a Lightning address, but has characters that none has")
        user, _, host = lower.partition("@")
        return PayLink(_over_http(f"{host}/.well-known/lnurlp/{user}"))
    if lower.startswith("lno1"):
        raise InvalidRequest("destination", "is a BOLT 12 offer: ask the payee for a Lightning invoice or address")
    if lower.startswith(("bc1", "tb1", "bcrt1")) or re.fullmatch(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", text):
        raise InvalidRequest("destination", "is an on-chain address: ask the payee for a Lightning invoice")
    return text


def _read_bip21(rest: str) -> str | PayLink:
    for name, value in parse_qsl(rest.partition("?")[2]):
        if name.lower() == "lightning":
            return read_destination(value)
    raise InvalidRequest("destination", "is a BIP21 link without a Lightning invoice: ask the payee for one")


def _read_fallback(url: str) -> str | PayLink:
    """Read a web address with an LNURL in it (LUD-01), as QR codes of shops are."""
    for name, value in parse_qsl(_split(url).query):
        if name.lower() == "lightning":
            return read_destination(value)
    raise InvalidRequest("destination", "is a web address: paste the invoice, Lightning address or LNURL it shows")


def _split(url: str) -> SplitResult:
    """Split a URL; one that is none has no host."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _over_http(address: str) -> str:
    host = _split(f"//{address}").hostname or ""
    plain = host.endswith(".onion") or host in _LOOPBACK or host == "::1"
    return f"{'http' if plain else 'https'}://{address}"


def pay_link(url: str) -> PayLink:
    """Return the link to a payee; its address has to be encrypted, unless it is on this machine or an onion service.

    Raises:
        InvalidRequest: It is not, or leads to something else than a payee.

    """
    parts = _split(url)
    host = parts.hostname or ""
    plain = host.endswith(".onion") or host in (*_LOOPBACK, "::1")
    if not host or len(url) > _LONGEST_URL or parts.scheme not in ({"https", "http"} if plain else {"https"}):
        raise InvalidRequest("destination", "leads to no https address")
    if dict(parse_qsl(parts.query)).get("tag") == "login":
        raise InvalidRequest("destination", _OTHER_LINKS["keyauth"])
    return PayLink(url)


def _decoded(lnurl: str) -> str:
    try:
        prefix, digits = bech32.decode(lnurl)
        bits = len(digits) * 5
        url = (int(digits, 32) >> bits % 8).to_bytes(bits // 8, "big").decode("ascii")
    except ValueError:
        raise InvalidRequest("destination", "is an LNURL with a typing error: copy it again") from None
    if prefix != "lnurl":
        raise InvalidRequest("destination", "is no LNURL")
    return url
