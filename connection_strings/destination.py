"""What people paste when they want to pay: a BOLT11, a Lightning address, an LNURL-pay link, or a link around one.

Pure: asking the payee's server is left to each house, which hands its answers in here to be checked (LUD-06).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from connection_strings.bolt11 import bech32
from connection_strings.bolt11.reader import read
from connection_strings.errors import InvalidReply, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PayLink", "PayTerms", "check_payee_invoice", "read_destination", "read_pay_terms"]

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


@dataclass(frozen=True, slots=True)
class PayTerms:
    """What a payee accepts (LUD-06).

    Attributes:
        callback: Where to ask for an invoice.
        least_msat: The smallest amount, in millisatoshi.
        most_msat: The largest amount.
        metadata: Whose SHA-256 its invoices commit to.

    """

    callback: str
    least_msat: int
    most_msat: int
    metadata: str

    def invoice_url(self, amount_msat: int) -> str:
        """Return where an invoice over an amount is to be had.

        Raises:
            InvalidRequest: The payee does not accept this amount.

        """
        if not self.least_msat <= amount_msat <= self.most_msat:
            raise InvalidRequest("amount", f"must be from {self.least_msat} to {self.most_msat} msat for this payee")
        parts = urlsplit(self.callback)
        query = f"{parts.query}&amount={amount_msat}".removeprefix("&")
        return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


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
            return _link(_over_http(rest.removeprefix("//")))
        case "http" | "https":
            return _read_fallback(text)
        case other if other in _OTHER_LINKS:
            raise InvalidRequest("destination", _OTHER_LINKS[other])
    return _read_bare(text)


def _read_bare(text: str) -> str | PayLink:
    """Read what has no scheme that is known."""
    lower = text.lower()
    if lower.startswith("lnurl1"):
        return _link(_decoded(lower))
    if "@" in text:
        if _ADDRESS.fullmatch(lower) is None:
            raise InvalidRequest("destination", "looks like a Lightning address, but has characters that none has")
        user, _, host = lower.partition("@")
        return PayLink(_over_http(f"{host}/.well-known/lnurlp/{user}"))
    if lower.startswith(("bc1", "tb1", "bcrt1")) or re.fullmatch(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", text):
        raise InvalidRequest("destination", "is an on-chain address: ask the payee for a Lightning invoice")
    return text


def read_pay_terms(answer: Mapping[str, object]) -> PayTerms:
    """Read what a payee's server answered to the question for its terms (LUD-06).

    Raises:
        InvalidReply: It refuses, or says something else than terms.

    """
    _insist_on_no_error(answer)
    callback, metadata = answer.get("callback"), answer.get("metadata")
    least, most = answer.get("minSendable"), answer.get("maxSendable")
    if answer.get("tag") != "payRequest" or not isinstance(callback, str) or not isinstance(metadata, str):
        raise InvalidReply("the payee's server does not answer as LNURL-pay does (LUD-06)")
    if not (type(least) is int and type(most) is int and 0 < least <= most):
        raise InvalidReply("the payee's server names no amounts that it accepts (LUD-06)")
    try:
        return PayTerms(_link(callback).url, least, most, metadata)
    except InvalidRequest:
        raise InvalidReply("the payee's server names no https address to ask for an invoice") from None


def check_payee_invoice(answer: Mapping[str, object], amount_msat: int, terms: PayTerms) -> str:
    """Return the BOLT11 that a payee's server made, if it is the one asked for (LUD-06).

    Raises:
        InvalidReply: It is over another amount, commits to other metadata, or there is none.

    """
    _insist_on_no_error(answer)
    bolt11 = answer.get("pr")
    try:
        invoice = read(bolt11) if isinstance(bolt11, str) else None
    except ValueError as error:
        raise InvalidReply(f"the payee's invoice is not a BOLT11 ({error})") from None
    if invoice is None or not isinstance(bolt11, str):
        raise InvalidReply("the payee's server made no invoice")
    if invoice.amount_msat != amount_msat:
        raise InvalidReply("the payee's invoice is over another amount than was asked for")
    if invoice.description_hash != sha256(terms.metadata.encode()).digest():
        raise InvalidReply("the payee's invoice is not for this payee: it commits to other metadata")
    return bolt11


def _insist_on_no_error(answer: Mapping[str, object]) -> None:
    if answer.get("status") == "ERROR":
        reason = answer.get("reason")
        words = reason[:200] if isinstance(reason, str) and reason.isprintable() else "no reason given"
        raise InvalidReply(f"the payee's server refuses: {words}")


def _read_bip21(rest: str) -> str | PayLink:
    for name, value in parse_qsl(rest.partition("?")[2]):
        if name.lower() == "lightning":
            return read_destination(value)
    raise InvalidRequest("destination", "is a BIP21 link without a Lightning invoice: ask the payee for one")


def _read_fallback(url: str) -> str | PayLink:
    """Read a web address with an LNURL in it (LUD-01), as QR codes of shops are."""
    for name, value in parse_qsl(urlsplit(url).query):
        if name.lower() == "lightning":
            return read_destination(value)
    raise InvalidRequest("destination", "is a web address: paste the invoice, Lightning address or LNURL it shows")


def _over_http(address: str) -> str:
    host = urlsplit(f"//{address}").hostname or ""
    plain = host.endswith(".onion") or host in _LOOPBACK or host == "::1"
    return f"{'http' if plain else 'https'}://{address}"


def _link(url: str) -> PayLink:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
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
