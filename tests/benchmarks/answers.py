"""What a Flash answers, made beforehand: nothing is parsed, validated or signed while somebody measures."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MSAT", "Answers", "ReadyInvoice"]

MSAT: Final = 1_000_000
"""What every ready invoice is over: a thousand satoshi, a dollar at the responder's price."""

_CREATIONS: Final = (
    b"lnUsdInvoiceCreateOnBehalfOfRecipient",
    b"lnUsdInvoiceCreate",
    b"lnInvoiceCreateOnBehalfOfRecipient",
)
"""Flash's, and the one that LNbits' BlinkWallet asks for; a longer name before the one that it begins with."""
_PRICE: Final[Mapping[str, object]] = {
    "timestamp": 1_780_000_000,
    "btcSatPrice": {"base": 10**11, "offset": 12},
    "denominatorCurrency": "USD",
}
"""A dollar is a thousand satoshi."""


class ReadyInvoice(NamedTuple):
    """A BOLT11 that was signed beforehand."""

    bolt11: str
    payment_hash: str


class Answers:
    """A Flash with one answer to each question.

    Args:
        invoices: What is handed out, one after the other.
        cycle: Whether to begin again when all are handed out; else that is an error.

    Attributes:
        counts: How often each root field was asked for.

    """

    def __init__(self, invoices: Sequence[ReadyInvoice], *, cycle: bool) -> None:
        self._answers = {field: [_created(field, each) for each in invoices] for field in _CREATIONS}
        self._hashes = {each.bolt11.encode(): each.payment_hash for each in invoices}
        self._cycle = cycle
        self._next = 0
        self._paid: set[str] = set()
        self.counts: Counter[str] = Counter()

    def rewind(self) -> None:
        """Forget what was handed out, paid and counted."""
        self._next = 0
        self._paid.clear()
        self.counts.clear()

    def pay(self, payment_hash: str) -> None:
        """Note a payment."""
        self._paid.add(payment_hash)

    def settlement(self, payment_hash: str, token: bytes) -> bytes:
        """Return what `myUpdates` tells the owner of a token of a payment."""
        wallet = _ids(token)["USD"]
        update = {"__typename": "LnUpdate", "paymentHash": payment_hash, "status": "PAID", "walletId": wallet}
        return _json({"data": {"myUpdates": {"errors": [], "update": update}}})

    def first_event(self) -> bytes:
        """Return what `myUpdates` tells at once: the price."""
        return _json({"data": {"myUpdates": {"errors": [], "update": {"__typename": "RealtimePrice", **_PRICE}}}})

    def answer(self, request: bytes, token: bytes) -> bytes:
        """Return the result of a query or mutation, recognised by the names in it."""
        for field in _CREATIONS:
            if field in request:
                self.counts[field.decode()] += 1
                return self._created(field)
        if b"lnInvoicePaymentStatus" in request:
            self.counts["lnInvoicePaymentStatus"] += 1
            return self._status(request)
        if b"defaultAccount" in request:
            self.counts["me"] += 1
            return _account(token)
        if b"realtimePrice" in request:
            self.counts["realtimePrice"] += 1
            return _json({"data": {"realtimePrice": _PRICE}})
        self.counts["__typename"] += 1
        return b'{"data":{"__typename":"Query"}}'

    def _created(self, field: bytes) -> bytes:
        ready = self._answers[field]
        if self._next == len(ready):
            if not self._cycle:
                return b'{"errors":[{"message":"all invoices are handed out"}]}'
            self._next = 0
        self._next += 1
        return ready[self._next - 1]

    def _status(self, request: bytes) -> bytes:
        start = request.index(b'"lnbc') + 1
        payment_hash = self._hashes.get(request[start : request.index(b'"', start)])
        status = "PAID" if payment_hash in self._paid else "PENDING"
        return _json({"data": {"lnInvoicePaymentStatus": {"errors": [], "status": status}}})


def _created(field: bytes, invoice: ReadyInvoice) -> bytes:
    told: dict[str, object] = {"paymentRequest": invoice.bolt11, "paymentHash": invoice.payment_hash}
    if field == b"lnInvoiceCreateOnBehalfOfRecipient":
        told |= {"paymentSecret": "00" * 32, "satoshis": 1000}
    return _json({"data": {field.decode(): {"errors": [], "invoice": told}}})


def _ids(token: bytes) -> dict[str, str]:
    return {kind: str(uuid5(NAMESPACE_URL, f"{kind} {token.hex()}")) for kind in ("account", "USD", "BTC")}


def _account(token: bytes) -> bytes:
    """Show the account that a token belongs to: another token, another account."""
    ids = _ids(token)
    wallets = [
        {"id": ids[kind], "walletCurrency": kind, "isExternal": False, "balance": 100_000} for kind in ("USD", "BTC")
    ]
    account = {"id": ids["account"], "defaultWalletId": ids["USD"], "wallets": wallets}
    return _json(
        {
            "data": {
                "__typename": "Query",
                "globals": {"network": "regtest"},
                "me": {"defaultAccount": account},
                "realtimePrice": _PRICE,
            }
        }
    )


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
