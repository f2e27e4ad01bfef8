"""Asks a payee behind a Lightning address or an LNURL-pay link for an invoice, and checks it (LUD-06, 12, 16).

It does no network itself: how a URL is asked, and which addresses it may lead to, is for each house to say. How much is
read and how long that may take is bounded here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from connection_strings.bolt11.reader import read
from connection_strings.destination import PayLink, pay_link, read_destination
from connection_strings.errors import BackendUnavailable, InvalidReply, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connection_strings.money import LightMoney

__all__ = ["Ask", "PayTerms", "bolt11_of", "check_payee_invoice", "read_pay_terms"]

_LONGEST_ANSWER: Final = 64 * 1024
_SECONDS: Final = 10.0

Ask = Callable[[str], AsyncGenerator[bytes, None]]
"""Asks a URL by GET, following no redirect, and yields the answer's body as it comes, whatever its status."""


@dataclass(frozen=True, slots=True)
class PayTerms:
    """What a payee accepts (LUD-06).

    Attributes:
        callback: Where to ask for an invoice.
        least_msat: The smallest amount, in millisatoshi.
        most_msat: The largest amount.
        metadata: What it says of itself; an invoice that commits to a hash has to commit to this one's.
        longest_comment: How many characters it takes to its invoice (LUD-12); none by default.

    """

    callback: str
    least_msat: int
    most_msat: int
    metadata: str
    longest_comment: int = 0

    def invoice_url(self, amount_msat: int, comment: str = "") -> str:
        """Return where an invoice over an amount is to be had.

        Raises:
            InvalidRequest: The payee does not accept this amount, or such a comment.

        """
        if not self.least_msat <= amount_msat <= self.most_msat:
            raise InvalidRequest("amount", f"must be from {self.least_msat} to {self.most_msat} msat for this payee")
        if len(comment) > self.longest_comment:
            raise InvalidRequest("comment", f"must have {self.longest_comment} characters at the most for this payee")
        parts = urlsplit(self.callback)
        asked = urlencode({"amount": amount_msat, **({"comment": comment} if comment else {})}, quote_via=quote)
        query = f"{parts.query}&{asked}".removeprefix("&")
        return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


async def bolt11_of(destination: str, amount: LightMoney | None, ask: Ask, *, comment: str = "") -> str:
    """Return the BOLT11 to pay: the one given, or one over this amount that the payee makes now.

    Args:
        destination: A BOLT11, a Lightning address, an LNURL-pay link, or a link around one of these.
        amount: What the payee is to get; needed where it has to be asked for an invoice.
        ask: Asks the payee's server.
        comment: What the payee reads beside its invoice (LUD-12).

    Raises:
        InvalidRequest: It can't be paid, or the payee does not accept the amount or the comment.
        InvalidReply: The payee's server answers something else than was asked for.
        BackendUnavailable: It does not answer within 10 s.

    """
    meant = read_destination(destination)
    if not isinstance(meant, PayLink):
        if comment:
            raise InvalidRequest("comment", "goes with a Lightning address or LNURL only: a BOLT11 takes none")
        return meant
    if amount is None:
        raise InvalidRequest("amount", "is needed: a Lightning address or LNURL leaves it to the payer")
    try:
        async with asyncio.timeout(_SECONDS):
            terms = read_pay_terms(await _answer(ask(meant.url)))
            url = terms.invoice_url(amount.msat, comment)
            return check_payee_invoice(await _answer(ask(url)), amount.msat, terms)
    except TimeoutError:
        why = {"payee's server": f"it did not answer within {_SECONDS:.0f} s"}
        raise BackendUnavailable("asking the payee for an invoice", why, executed=False) from None


def read_pay_terms(answer: Mapping[str, object]) -> PayTerms:
    """Read what a payee's server answered to the question for its terms (LUD-06).

    Raises:
        InvalidReply: It refuses, or says something else than terms.

    """
    _insist_on_no_error(answer)
    callback, metadata = answer.get("callback"), answer.get("metadata")
    least, most, longest = answer.get("minSendable"), answer.get("maxSendable"), answer.get("commentAllowed")
    if answer.get("tag") != "payRequest" or not isinstance(callback, str) or not isinstance(metadata, str):
        raise InvalidReply("the payee's server does not answer as LNURL-pay does (LUD-06)")
    if not (type(least) is int and type(most) is int and 0 < least <= most):
        raise InvalidReply("the payee's server names no amounts that it accepts (LUD-06)")
    try:
        return PayTerms(pay_link(callback).url, least, most, metadata, longest if type(longest) is int else 0)
    except InvalidRequest:
        raise InvalidReply("the payee's server names no https address to ask for an invoice") from None


def check_payee_invoice(answer: Mapping[str, object], amount_msat: int, terms: PayTerms) -> str:
    """Return the BOLT11 that a payee's server made, if it is the one asked for.

    It need not commit to the payee's metadata: LUD-06 asks for that no more, and Flash's custodian drops the hash.

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
    if invoice.description_hash not in (None, sha256(terms.metadata.encode()).digest()):
        raise InvalidReply("the payee's invoice is not for this payee: it commits to other metadata")
    return bolt11


def _insist_on_no_error(answer: Mapping[str, object]) -> None:
    if answer.get("status") == "ERROR":
        reason = answer.get("reason")
        words = reason[:200] if isinstance(reason, str) and reason.isprintable() else "no reason given"
        raise InvalidReply(f"the payee's server refuses: {words}")


async def _answer(chunks: AsyncGenerator[bytes, None]) -> Mapping[str, object]:
    body = bytearray()
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            body += chunk
            if len(body) > _LONGEST_ANSWER:
                raise InvalidReply("the payee's server answers with far more than LUD-06 asks for")
    try:
        answer = json.loads(bytes(body))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise InvalidReply("the payee's server does not answer with JSON (LUD-06)")
    return answer
