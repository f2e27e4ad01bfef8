"""What the clients of phoenixd's API believe, and how each is told that something is not known.

Read in their own code, and tried with them (BTCPay Server 2.4.1, LNbits 1.6.2):

| answer | BTCPay Server | LNbits |
| --- | --- | --- |
| incoming: `isPaid` false, BOLT11 not over | not paid yet | not paid yet |
| incoming: `isPaid` false, BOLT11 over | expired: forgotten for good, later events are ignored | not paid yet |
| incoming: any error status | forgotten for good | 404: failed; else not paid yet |
| incoming: connection broken | not known: asked again | its pass over all pending payments ends |
| outgoing: any error status | the payout is cancelled | 404: failed, the money is given back; else pending |
| outgoing: `isPaid` false | in progress | pending |
| payinvoice: `paymentPreimage` | paid | paid |
| payinvoice: "this invoice has already been paid", no preimage | paid | paid, if `routingFeeSat` is there |
| payinvoice: one of six reasons for "not sent" | failed, may be tried again | pending, then asked for by hash |
| payinvoice: another reason | not known: in progress, cancelled ten minutes later | pending, then asked for by hash |
| payinvoice: an error status | in progress | pending |
| payinvoice: connection broken | in progress | pending or failed, as its version has it |
| websocket: an event told twice | ignored | taken as told once |

So "not known" about a payment or an invoice is a broken connection for BTCPay, and 503 for all others. They are told
apart by the User-Agent: BTCPay sends none. `payinvoice` always gets an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["ALREADY_PAID", "NOT_ENOUGH_FUNDS", "NO_ROUTE", "begins_such_a_question", "hang_up", "reads_errors_as_no"]

ALREADY_PAID: Final = "this invoice has already been paid"
NO_ROUTE: Final = "payment could not be sent through existing channels, check individual failures for more details"
NOT_ENOUGH_FUNDS: Final = "not enough funds in wallet to afford payment"

_QUESTIONS: Final = ("/payments/incoming/", "/payments/outgoing/", "/payments/outgoingbyhash/")
_NOT_KNOWN: Final = frozenset({408, 429})


def reads_errors_as_no(request: web.Request, status: int) -> bool:
    """Whether the client would take this error status for "there is no such payment" though that is not known."""
    not_known = status >= 500 or status in _NOT_KNOWN
    return not_known and request.path.startswith(_QUESTIONS) and "User-Agent" not in request.headers


def begins_such_a_question(sent: bytes) -> bool:
    """Whether the first bytes of a connection begin a request whose client would take any error status for that."""
    words = sent.partition(b"\r\n")[0].split(b" ")
    asks = len(words) > 1 and words[1].decode("latin-1").startswith(_QUESTIONS)
    return asks and b"\r\nuser-agent:" not in sent.lower()


def hang_up(request: web.Request) -> None:
    """Break the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
