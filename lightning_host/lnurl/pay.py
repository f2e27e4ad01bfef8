"""What an LNURL-pay link does (LUD-06, 12, 16, 21), for whichever group hands it out.

A group describes what is paid with a `PayTarget`, answers its link with `pay_request` and its callback with
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
from lightning_host.web.bodies import Fields
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from connection_strings import LightningInvoice
    from lightning_host.host import Host
    from lightning_host.stores import Store
    from lightning_host.web.problems import Problem

__all__ = [
    "VERIFY_PATH",
    "PayTarget",
    "answer",
    "exact_invoice",
    "lightning_address",
    "lnurl_of",
    "pay_callback",
    "pay_request",
    "tell_lnurl",
]

VERIFY_PATH: Final = "/lnurlp/verify"
_EXPIRY: Final = timedelta(minutes=10)
_CORS: Final = {"Access-Control-Allow-Origin": "*"}
_LONGEST_MESSAGE: Final = 144
_KEPT_STATUSES: Final = frozenset({404, 405, 500})
"""What is told by the HTTP status, too; wallets read the reason of everything else only if the status is 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayTarget:
    """What an LNURL-pay link pays for.

    Attributes:
        store: Whose wallet receives.
        purpose: The group that handed the link out; with `subject` it is what a settlement is matched with.
        subject: What is paid within that group: an address, a card.
        callback_path: Where the wallet fetches its invoice.
        text: What the payer reads.
        identifier: The Lightning address that was paid, if it was one (LUD-16).
        comment_allowed: How many characters the payer may say (LUD-12).
        thanks: What the payer reads once it is paid (LUD-09).
        least: Least amount; None takes the host's.
        most: Most amount; None takes the host's.

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

    Raises:
        ProblemError: Amount or comment are not right, or too many invoices were asked for.
        LightningError: The store's wallet makes no such invoice.

    """
    amount, comment = _read_query(host, target, Fields(request.query))
    wait = await host.budgets.spend(f"lnurl {target.store.id}", host.settings.lnurl_allowance)
    if wait:
        raise ProblemError.make(
            429,
            "rate-limited",
            f"too many invoices were asked for; try again in {wait} seconds",
            headers={"Retry-After": str(wait)},
        )
    params = CreateInvoiceParams(amount, target.metadata, _EXPIRY, description_hash_only=True)
    invoice = await exact_invoice(
        host, target.store, params, purpose=target.purpose, subject=target.subject, comment=comment
    )
    verify = host.url(f"{VERIFY_PATH}/{target.store.id}/{invoice.payment_hash}")
    thanks = target.thanks or f"Thank you! {target.store.title} has received your payment."
    return answer(
        {
            "pr": invoice.bolt11,
            "routes": [],
            "disposable": False,
            "successAction": {"tag": "message", "message": thanks[:_LONGEST_MESSAGE]},
            "verify": verify,
        }
    )


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


def _read_query(host: Host, target: PayTarget, query: Fields) -> tuple[LightMoney, str]:
    least, most = target.bounds(host)
    amount = LightMoney.from_msat(query.whole("amount", least=least.msat, most=most.msat))
    comment = query.text("comment", default="", longest=target.comment_allowed)
    return amount, comment
