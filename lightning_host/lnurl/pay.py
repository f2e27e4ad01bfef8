"""What an LNURL-pay link does (LUD-06, 12, 16, 21), for every route group that hands one out.

A route group describes what is paid with a `PayTarget`, answers its link with `pay_request` and its callback with
`pay_callback`. A paying wallet refuses an invoice whose amount differs by a millisatoshi from the one it asked for: so
does `pay_callback`, whatever the store's wallet may have made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from connection_strings import AmountMismatch, CreateInvoiceParams, InvalidReply, LightMoney
from connection_strings.bolt11 import bech32
from connection_strings.bolt11.reader import read
from lightning_host.client_address import client_key
from lightning_host.lnurl.offers import OFFERS
from lightning_host.web.bodies import Fields
from lightning_host.web.pages import in_sat
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from connection_strings import LightningInvoice
    from lightning_host.host import Host
    from lightning_host.lnurl.offers import Offers
    from lightning_host.stores import Store
    from lightning_host.web.problems import Problem

__all__ = [
    "VERIFY_PATH",
    "PayTarget",
    "answer",
    "exact_invoice",
    "lightning_address",
    "lnurl_of",
    "pay_answer",
    "pay_callback",
    "pay_request",
    "read_query",
    "spend_share",
    "tell_lnurl",
    "with_preflight",
]

VERIFY_PATH: Final = "/lnurlp/verify"
_EXPIRY: Final = timedelta(minutes=10)
_CORS: Final = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
_LONGEST_MESSAGE: Final = 144
_KEPT_STATUSES: Final = frozenset({404, 405, 500})
"""What is told by the HTTP status, too; wallets read the reason of everything else only if the status is 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayTarget:
    """What an LNURL-pay link pays for.

    Attributes:
        store: Whose wallet receives.
        purpose: The route group that handed the link out; with `subject` it is what a settlement is matched with.
        subject: What is paid within that route group: an address, a card.
        callback_path: Where the wallet fetches its invoice.
        text: What the payer reads.
        identifier: The Lightning address that was paid, if it was one (LUD-16).
        comment_allowed: How many characters the payer may say (LUD-12).
        thanks: What the payer reads once it is paid (LUD-09).
        least: Least amount; None takes the host's.
        most: Most amount; None takes the host's.
        verifiable: Whether the payer's wallet may ask for the preimage (LUD-21), which proves a payment.

    """

    store: Store
    purpose: str
    subject: str
    callback_path: str
    text: str
    identifier: str | None = None
    comment_allowed: int = 200
    thanks: str = ""
    least: LightMoney | None = None
    most: LightMoney | None = None
    verifiable: bool = True

    @property
    def metadata(self) -> str:
        """The text whose SHA-256 the invoice commits to (LUD-06)."""
        entries = [["text/plain", self.text]]
        if self.identifier is not None:
            entries.append(["text/identifier", self.identifier])
        return json.dumps(entries)

    def bounds(self, host: Host) -> tuple[LightMoney, LightMoney]:
        """Return the least and the most that may be paid."""
        least = self.least or LightMoney.from_sat(host.settings.lnurl_min_sat)
        return least, self.most or LightMoney.from_sat(host.settings.lnurl_max_sat)


def lightning_address(host: Host, name: str) -> str:
    """Return the Lightning address of a name at this host (LUD-16)."""
    return f"{name}@{host.settings.base_url.partition('://')[2].partition('/')[0]}"


def pay_request(host: Host, target: PayTarget) -> web.Response:
    """Answer the link itself (LUD-06 step 3)."""
    least, most = target.bounds(host)
    return answer(
        {
            "tag": "payRequest",
            "callback": host.url(target.callback_path),
            "minSendable": least.msat,
            "maxSendable": most.msat,
            "metadata": target.metadata,
            "commentAllowed": target.comment_allowed,
        }
    )


async def pay_callback(host: Host, target: PayTarget, request: web.Request) -> web.Response:
    """Answer the callback (LUD-06 step 5): make the invoice that the paying wallet asked for.

    A client that asks again for the same is given the same invoice, as long as it is not paid and lives.

    Raises:
        ProblemError: Amount or comment are not right, or too many invoices were asked for.
        LightningError: The store's wallet makes no such invoice.

    """
    amount, comment = read_query(host, target, request)
    offers, client = request.app[OFFERS], client_key(request, host.settings.trusted_proxies)
    key = (target.store.id, target.purpose, target.subject, client, amount.msat, comment)
    async with offers.turn(key):
        invoice = offers.find(key)
        if invoice is None or await host.settlements.find(target.store.id, invoice.payment_hash) is not None:
            if offers.is_refused(target.store.id, amount):
                raise AmountMismatch(amount.msat, [])
            await spend_share(host, target.store, target.purpose, client)
            invoice = await _make(host, target, offers, amount, comment)
            offers.keep(key, invoice)
    return pay_answer(host, target, invoice.payment_hash, invoice.bolt11)


async def _make(host: Host, target: PayTarget, offers: Offers, amount: LightMoney, comment: str) -> LightningInvoice:
    """Make an invoice over exactly an amount; one that the wallet can't make is remembered."""
    params = CreateInvoiceParams(amount, target.metadata, _EXPIRY, description_hash_only=True)
    try:
        return await exact_invoice(
            host, target.store, params, purpose=target.purpose, subject=target.subject, comment=comment
        )
    except AmountMismatch:
        offers.refuse(target.store.id, amount)
        raise


def pay_answer(host: Host, target: PayTarget, payment_hash: str, bolt11: str) -> web.Response:
    """Hand an invoice out (LUD-06 step 6)."""
    thanks = target.thanks or f"Thank you! {target.store.title} has received your payment."
    body: dict[str, Any] = {
        "pr": bolt11,
        "routes": [],
        "disposable": False,
        "successAction": {"tag": "message", "message": _cut(thanks)},
    }
    if target.verifiable:
        body["verify"] = host.url(f"{VERIFY_PATH}/{target.store.id}/{payment_hash}")
    return answer(body)


async def spend_share(host: Host, store: Store, purpose: str, client: str) -> None:
    """Count an invoice that a stranger asks for: in the client's own share first, then in the store's for this purpose.

    Raises:
        ProblemError: There were too many (429).

    """
    settings = host.settings
    wait = host.shares.spend(f"{purpose} {store.id} {client}", settings.lnurl_client_allowance)
    wait = wait or await host.budgets.spend(f"{purpose} {store.id}", settings.lnurl_allowance)
    if wait:
        words = f"too many invoices were asked for; try again in {wait} seconds"
        raise ProblemError.make(429, "rate-limited", words, headers={"Retry-After": str(wait)})


async def exact_invoice(
    host: Host,
    store: Store,
    params: CreateInvoiceParams,
    *,
    purpose: str,
    subject: str = "",
    comment: str = "",
    external_id: str | None = None,
) -> LightningInvoice:
    """Make an invoice over exactly the amount asked for, which commits to no other text than the one asked for.

    A wallet that can't make description hashes may leave them out: LUD-06 asks paying wallets no longer to check them.

    Raises:
        AmountMismatch: The wallet made one over another amount.
        InvalidReply: The wallet made one that commits to another text.
        LightningError: The wallet makes none.

    """
    invoice = await host.invoices.create(
        store, params, purpose=purpose, subject=subject, comment=comment, external_id=external_id
    )
    made = read(invoice.bolt11)
    asked = params.amount or LightMoney.ZERO
    if (made.amount_msat or 0) != asked.msat:
        raise AmountMismatch(asked.msat, [made.amount_msat or 0])
    if made.description_hash is not None and made.description_hash.hex() != params.committed_hash:
        raise InvalidReply("the wallet made an invoice that commits to another text")
    return invoice


def lnurl_of(host: Host, path: str) -> str:
    """Return the LNURL of a path of this host (LUD-01), in capitals: QR codes take fewer dots for them."""
    return bech32.encode("lnurl", bech32.digits_of(host.url(path).encode())).upper()


def answer(body: dict[str, Any], *, status: int = 200) -> web.Response:
    """Answer so that a wallet in a browser may read it, too."""
    return web.json_response(body, status=status, headers=_CORS)


def tell_lnurl(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem in LNURL's words (LUD-06): a reason for the payer, nothing of the wallet behind."""
    del request
    status = problem.status if problem.status in _KEPT_STATUSES else 200
    reason = "; ".join(f"{name} {why}" for name, why in problem.fields) or problem.public
    return answer({"status": "ERROR", "reason": reason}, status=status)


def with_preflight(path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> list[web.RouteDef]:
    """Make the routes of an LNURL path: GET, and what a wallet in a browser asks first where it sends own headers."""
    return [web.get(path, handler), web.options(path, _preflight)]


async def _preflight(request: web.Request) -> web.Response:
    del request
    return web.Response(status=204, headers={**_CORS, **_PREFLIGHT})


def read_query(host: Host, target: PayTarget, request: web.Request) -> tuple[LightMoney, str]:
    """Read amount and comment of a callback.

    Raises:
        ProblemError: One is not right (422).

    """
    query, (least, most) = Fields(request.query), target.bounds(host)
    amount = query.msat("amount")
    if not least <= amount <= most:
        words = f"{in_sat(least)}" if least == most else f"from {in_sat(least)} to {in_sat(most)}"
        query.refuse("amount", f"must be {words} satoshi (told in millisatoshi)")
    comment = query.text("comment", default="", longest=target.comment_allowed)
    return amount, comment


def _cut(message: str) -> str:
    """Cut a message to what LUD-09 allows, counted as wallets written in JavaScript do: in UTF-16."""
    return message.encode("utf-16-le")[: 2 * _LONGEST_MESSAGE].decode("utf-16-le", errors="ignore")
