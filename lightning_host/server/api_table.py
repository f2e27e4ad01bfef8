"""What each route of the host is for, takes and answers: the one table that `/openapi.json` is written from.

Paths and methods come from the application itself (openapi.py); a route without a row here, or a row without a route,
is a fault of the host that the tests find.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["API", "SCHEMAS", "Row"]

Schema = dict[str, Any]

_JSON: Final = "application/json"
_PAGE: Final = "text/html"
_PICTURE: Final = "image/svg+xml"
_STREAM: Final = "text/event-stream"
_FORM: Final = "application/x-www-form-urlencoded"

_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
_MSAT: Final[Schema] = {"type": "string", "pattern": "^[0-9]+$", "description": "millisatoshi"}
_HASH: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(**properties: Schema) -> Schema:
    """Describe an object that has each of these."""
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _list_of(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SECONDS: Final = _maybe(_WHOLE)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Any": {"type": "object"},
    "Invoice": _object(
        id=_HASH, status={"enum": ["Unpaid", "Paid", "Expired"]}, BOLT11=_TEXT, paidAt=_SECONDS, expiresAt=_SECONDS,
        amount=_MSAT, amountReceived=_maybe(_MSAT), paymentHash=_HASH, preimage=_maybe(_TEXT),
    ),
    "Payment": _object(
        id=_HASH, status={"enum": ["Unknown", "Pending", "Complete", "Failed"]}, BOLT11=_maybe(_TEXT),
        paymentHash=_HASH, preimage=_maybe(_TEXT), createdAt=_SECONDS,
    ),
    "PayAnswer": _object(status=_TEXT, paymentHash=_HASH),
    "Node": _object(nodeURIs={"type": "array", "items": _TEXT}, alias=_maybe(_TEXT)),
    "Balance": _object(onchain=_maybe({"type": "object"}), offchain=_maybe({"type": "object"})),
    "Checkout": _object(id=_TEXT),
    "Flashcard": _object(id=_TEXT),
    "Spending": _object(
        chip=_maybe(_TEXT), uid=_maybe(_TEXT), tapped=_FLAG, frozen=_FLAG, maxPerTap=_maybe(_MSAT),
        maxPerDay=_maybe(_MSAT), pinLimit=_maybe(_MSAT), wrongPins=_WHOLE, reserved=_MSAT, spentToday=_MSAT,
    ),
    "CardPayment": _object(
        id=_TEXT, paymentHash=_HASH, status={"enum": ["paying", "paid", "failed"]}, amount=_MSAT, reserved=_MSAT,
        charged=_maybe(_MSAT), reason=_maybe(_TEXT), chip=_TEXT, createdAt=_WHOLE, endedAt=_SECONDS,
    ),
    "KeysLink": _object(chip=_TEXT, url=_TEXT, deepLink=_TEXT, expiresAt=_WHOLE),
    "WithdrawRequest": _object(
        tag={"const": "withdrawRequest"}, callback=_TEXT, k1=_TEXT, defaultDescription=_TEXT, minWithdrawable=_WHOLE,
        maxWithdrawable=_WHOLE, payLink=_TEXT,
    ),
    "FlashcardSpent": _object(
        type={"const": "FlashcardSpent"}, timestamp=_WHOLE, storeId=_TEXT, flashcardId=_TEXT, paymentHash=_HASH,
        amount=_MSAT, charged=_MSAT, deliveryId=_TEXT, webhookId=_TEXT, originalDeliveryId=_TEXT, isRedelivery=_FLAG,
    ),
    "Webhook": _object(id=_TEXT, url=_TEXT, enabled=_FLAG, automaticRedelivery=_FLAG),
    "Delivery": _object(id=_TEXT),
    "Status": _object(status=_TEXT),
    "PayRequest": _object(
        tag={"const": "payRequest"}, callback=_TEXT, minSendable=_WHOLE, maxSendable=_WHOLE, metadata=_TEXT
    ),
    "PayInvoice": _object(pr=_TEXT, routes={"type": "array"}),
    "LnurlError": _object(status={"const": "ERROR"}, reason=_TEXT),
    "Links": _object(address=_TEXT, lnurl=_TEXT, lightning=_TEXT, lnurlp=_TEXT, url=_TEXT),
    "Verified": _object(status={"const": "OK"}, settled=_FLAG, preimage=_maybe(_TEXT), pr=_TEXT),
    "Incoming": _object(paymentHash=_HASH, isPaid=_FLAG),
    "Outgoing": _object(paymentHash=_HASH, isPaid=_FLAG),
    "Problem": {
        "description": "What went wrong, as the clients of each path read it: a code and words, a list of fields "
        "with 422, `error` on phoenixd's paths, `reason` on those of LNURL.",
        "anyOf": [
            {"type": "object", "required": ["code", "message"]},
            {"type": "object", "required": ["error", "message"]},
            {"type": "object", "required": ["status", "reason"], "properties": {"status": {"const": "ERROR"}}},
            {"type": "array", "items": {"type": "object", "required": ["path", "message"]}},
        ],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """What one route is for.

    Attributes:
        words: What it does.
        answer: What a success is: a schema of JSON, or None for another type.
        kind: The type of a success.
        status: The status of a success.
        opened_by: The name of what opens it; None for what anybody may ask.
        query: Parameters in the query, none of which is required unless `needs` names it.
        body: Fields of the body.
        body_kind: The type of the body.
        needs: Which parameters and fields are required.
        also: Further statuses with the same answer.

    """

    words: str
    answer: Schema | None = None
    kind: str = _JSON
    status: int = 200
    opened_by: str | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Mapping[str, Schema] | None = None
    body_kind: str = _JSON
    needs: tuple[str, ...] = ()
    also: tuple[int, ...] = ()


def _page(words: str, **query: Schema) -> Row:
    return Row(words, kind=_PAGE, query=query)


def _picture(words: str) -> Row:
    return Row(words, kind=_PICTURE)


def _sent_on(words: str, body: Mapping[str, Schema] | None = None) -> Row:
    return Row(words, kind="text/plain", status=303, body=body, body_kind=_FORM, also=(302,))


def _key(words: str, answer: Schema, **more: Any) -> Row:
    return Row(words, answer, opened_by="key", **more)


def _password(words: str, answer: Schema | None, **more: Any) -> Row:
    return Row(words, answer, opened_by="password", **more)


_KEYED: Final = {
    "skip": _WHOLE, "take": {"type": "integer", "minimum": 0, "maximum": 100}, "before": _TEXT, "after": _TEXT,
}  # fmt: skip
_CALLBACK: Final = {"amount": _WHOLE, "comment": _TEXT}
_PERIOD: Final = {"all": _FLAG, "from": _WHOLE, "to": _WHOLE, "offset": _WHOLE, "limit": _WHOLE}
_CHECKOUT: Final = {
    "amount": _MSAT, "description": _TEXT, "externalId": _TEXT, "redirectUrl": _TEXT, "expirySeconds": _WHOLE,
    "once": _FLAG,
}  # fmt: skip
_WEBHOOK: Final = {
    "url": _TEXT, "secret": _TEXT, "enabled": _FLAG, "automaticRedelivery": _FLAG,
    "authorizedEvents": {"type": "object"},
}  # fmt: skip

_STORE: Final = "/api/v1/stores/{store}"
_NODE: Final = f"{_STORE}/lightning/{{crypto_code}}"


def _webhook_rows(base: str) -> dict[tuple[str, str], Row]:
    one, told = f"{base}/{{webhook}}", f"{base}/{{webhook}}/deliveries"
    return {
        ("GET", one): _key("Tell how a webhook is set up.", _ref("Webhook")),
        ("PUT", one): _key("Change a webhook.", _ref("Webhook"), body=_WEBHOOK),
        ("DELETE", one): _key("Remove a webhook.", _ref("Any")),
        ("GET", told): _key(
            "List what was delivered, newest first.", _list_of("Delivery"), query={**_KEYED, "count": _WHOLE}
        ),
        ("GET", f"{told}/{{delivery}}"): _key("Tell of one delivery.", _ref("Delivery")),
        ("GET", f"{told}/{{delivery}}/request"): _key("Tell what was delivered.", _ref("Any")),
        ("POST", f"{told}/{{delivery}}/redeliver"): _key("Deliver it once more.", _TEXT),
    }


def _no_node(words: str) -> Row:
    return _key(f"{words} This host refuses: its wallets give no access to a node.", _ref("Any"))


def _or_error(name: str) -> Schema:
    """Describe an answer of LNURL, which may be an error with status 200 (LUD-06)."""
    return {"anyOf": [_ref(name), _ref("LnurlError")]}


def _lnurl_rows(link: str, callback: str, words: str) -> dict[tuple[str, str], Row]:
    made = Row("Make the invoice that a wallet asks for.", _or_error("PayInvoice"), query=_CALLBACK)
    return {("GET", link): Row(words, _or_error("PayRequest")), ("GET", callback): made}


API: Final[Mapping[tuple[str, str], Row]] = {
    ("GET", f"{_NODE}/info"): _key("Tell of the node behind the wallet.", _ref("Node")),
    ("GET", f"{_NODE}/balance"): _key("Tell the balance.", _ref("Balance")),
    ("POST", f"{_NODE}/invoices"): _key(
        "Make an invoice; an amount of 0 or null leaves it to the payer.",
        _ref("Invoice"),
        body={
            "amount": _maybe(_MSAT), "description": _TEXT, "descriptionHashOnly": _FLAG, "expiry": _WHOLE,
            "privateRouteHints": _FLAG,
        },
        needs=("amount",),
    ),
    ("GET", f"{_NODE}/invoices"): _key(
        "List invoices, oldest first.", _list_of("Invoice"), query={"pendingOnly": _FLAG, "offsetIndex": _WHOLE}
    ),
    ("POST", f"{_NODE}/invoices/pay"): _key(
        "Pay a BOLT11. 202 says that the outcome is not known yet: ask for the payment, never pay again.",
        _ref("PayAnswer"),
        body={
            "BOLT11": _TEXT, "amount": _MSAT, "maxFeePercent": {"type": "number"}, "maxFeeFlat": _WHOLE,
            "sendTimeout": _WHOLE,
        },
        needs=("BOLT11",),
        also=(202,),
    ),
    ("GET", f"{_NODE}/invoices/{{id}}"): _key("Look an invoice up.", _ref("Invoice")),
    ("GET", f"{_NODE}/payments"): _key(
        "List payments, oldest first.", _list_of("Payment"), query={"includePending": _FLAG, "offsetIndex": _WHOLE}
    ),
    ("GET", f"{_NODE}/payments/{{payment_hash}}"): _key("Look a payment up.", _ref("Payment")),
    ("POST", f"{_NODE}/connect"): _no_node("Connect to a peer."),
    ("GET", f"{_NODE}/channels"): _no_node("List channels."),
    ("POST", f"{_NODE}/channels"): _no_node("Open a channel."),
    ("POST", f"{_NODE}/address"): _no_node("Make an on-chain address."),
    ("GET", f"{_NODE}/histogram"): _no_node("Tell how the balance went."),
    ("GET", "/api/v1/health"): Row("Tell whether settlements are heard of.", _object(synchronized=_FLAG)),
    ("GET", "/api/v1/server/info"): _key("Tell what this server is.", _ref("Any")),
    ("GET", "/api/v1/api-keys/current"): _key("Tell what the key may do.", _ref("Any")),
    ("POST", f"{_STORE}/checkouts"): _key("Open a checkout.", _ref("Checkout"), body=_CHECKOUT),
    ("GET", f"{_STORE}/checkouts"): _key(
        "List checkouts, newest first.", _list_of("Checkout"), query=_KEYED
    ),
    ("GET", f"{_STORE}/checkouts/{{checkout}}"): _key("Tell of a checkout.", _ref("Checkout")),
    ("POST", f"{_STORE}/flashcards"): _key("Make a flashcard.", _ref("Flashcard"), body={"name": _TEXT}),
    ("GET", f"{_STORE}/flashcards"): _key("List flashcards, newest first.", _list_of("Flashcard"), query=_KEYED),
    ("GET", f"{_STORE}/flashcards/{{card}}"): _key("Tell of a flashcard.", _ref("Flashcard")),
    ("GET", f"{_STORE}/flashcards/{{card}}/history"): _key(
        "List what topped it up, newest first: `before` and `after` are payment hashes.", _list_of("Any"), query=_KEYED
    ),
    ("POST", f"{_STORE}/flashcards/{{card}}/topups"): _key(
        "Open a checkout that tops it up.", _ref("Checkout"), body=_CHECKOUT
    ),
    ("GET", f"{_STORE}/flashcards/{{card}}/spending"): _key("Tell what a flashcard may pay.", _ref("Spending")),
    ("PATCH", f"{_STORE}/flashcards/{{card}}/spending"): _key(
        "Change what a flashcard may pay: what is left out stays, null removes it.",
        _ref("Spending"),
        body={
            "frozen": _FLAG, "maxPerTap": _maybe(_MSAT), "maxPerDay": _maybe(_MSAT), "pinLimit": _maybe(_MSAT),
            "pin": _maybe({"type": "string", "pattern": "^[0-9]{4,12}$"}),
        },
    ),
    ("GET", f"{_STORE}/flashcards/{{card}}/payments"): _key(
        "List what was paid with a flashcard, newest first.", _list_of("CardPayment"), query=_KEYED
    ),
    ("POST", f"{_STORE}/flashcards/{{card}}/programming"): _key(
        "Make a one-time link by which an app writes the card's chip.", _ref("KeysLink"), body={"replace": _FLAG}
    ),
    ("POST", f"{_STORE}/flashcards/{{card}}/wipe"): _key(
        "Retire a chip, and make a one-time link by which an app wipes it.", _ref("KeysLink"), body={"chip": _TEXT}
    ),
    ("POST", f"{_STORE}/webhooks"): _key(
        "Register a webhook; its secret is told this once.", _ref("Webhook"), body=_WEBHOOK, needs=("url",)
    ),
    ("GET", f"{_STORE}/webhooks"): _key("List webhooks.", _list_of("Webhook")),
    **_webhook_rows(f"{_STORE}/webhooks"),
    **_webhook_rows("/api/v1/webhooks"),
    ("POST", f"{_STORE}/merchant-links"): _key(
        "Make a link that logs a browser in to the merchant's page, once; to read only unless `changes` is true.",
        _object(link=_TEXT, expirySeconds=_WHOLE),
        body={"changes": _FLAG, "expirySeconds": _WHOLE},
    ),
    ("GET", "/merchant"): _page("Show the form to log in to the merchant's page."),
    ("POST", "/merchant"): _sent_on("Log in.", {"key": _TEXT, "changes": _TEXT, "form_token": _TEXT}),
    ("POST", "/merchant/{store}/logout"): _sent_on("Log out.", {"form_token": _TEXT}),
    ("GET", "/merchant/{store}"): _page("Show takings and payments.", search=_TEXT, before=_WHOLE),
    ("GET", "/merchant/{store}/payments.csv"): Row(
        "Send a month's payments as a file.", kind="text/csv", query={"month": _TEXT}, needs=("month",)
    ),
    ("GET", "/merchant/{store}/wallet"): _page("Show how the wallet stands, and what to do about it."),
    ("GET", "/merchant/{store}/cards"): _page("Show the flashcards.", before=_TEXT),
    ("GET", "/merchant/{store}/cards/payments"): _page("Show what was paid with flashcards.", before=_TEXT),
    ("GET", "/merchant/{store}/events"): Row("Tell of each payment as it comes.", kind=_STREAM),
    ("GET", "/merchant/{store}/webhooks"): _page("Show the webhooks."),
    ("GET", "/merchant/{store}/webhooks/{webhook}"): _page("Show what was told to a webhook.", before=_TEXT),
    ("POST", "/merchant/{store}/webhooks/{webhook}/deliveries/{delivery}/again"): _sent_on(
        "Tell it once more.", {"form_token": _TEXT}
    ),
    ("GET", "/getinfo"): _password("Tell of the node, as phoenixd does.", _ref("Any")),
    ("GET", "/getbalance"): _password("Tell the balance.", _object(balanceSat=_WHOLE, feeCreditSat=_WHOLE)),
    ("POST", "/createinvoice"): _password(
        "Make an invoice.",
        _object(paymentHash=_HASH, serialized=_TEXT),
        body={
            "amountSat": _WHOLE, "description": _TEXT, "descriptionHash": _HASH, "expirySeconds": _WHOLE,
            "externalId": _TEXT,
        },
        body_kind=_FORM,
    ),
    ("POST", "/payinvoice"): _password(
        "Pay an invoice.", _ref("Any"), body={"invoice": _TEXT, "amountSat": _WHOLE}, body_kind=_FORM,
        needs=("invoice",),
    ),
    ("POST", "/paylnaddress"): _password(
        "Pay a Lightning address.", _ref("Any"), body={"address": _TEXT, "amountSat": _WHOLE, "message": _TEXT},
        body_kind=_FORM, needs=("address", "amountSat"),
    ),
    ("POST", "/lnurlpay"): _password(
        "Pay an LNURL-pay link.", _ref("Any"), body={"lnurl": _TEXT, "amountSat": _WHOLE, "message": _TEXT},
        body_kind=_FORM, needs=("lnurl", "amountSat"),
    ),
    ("POST", "/payoffer"): _password(
        "Pay a BOLT12 offer. This host refuses: its wallets pay none.", _ref("Any"), body={"offer": _TEXT},
        body_kind=_FORM, needs=("offer",),
    ),
    ("GET", "/payments/incoming"): _password(
        "List invoices, newest first.", _list_of("Incoming"), query={**_PERIOD, "externalId": _TEXT}
    ),
    ("GET", "/payments/incoming/{payment_hash}"): _password("Look an invoice up.", _ref("Incoming")),
    ("GET", "/payments/outgoing"): _password("List payments, newest first.", _list_of("Outgoing"), query=_PERIOD),
    ("GET", "/payments/outgoing/{payment_hash}"): _password("Look a payment up.", _ref("Outgoing")),
    ("GET", "/payments/outgoingbyhash/{payment_hash}"): _password("Look a payment up.", _ref("Outgoing")),
    ("GET", "/websocket"): _password("Be told of payments, on a WebSocket.", None, status=101),
    **_lnurl_rows("/.well-known/lnurlp/{name}", "/lnurlp/{name}/callback", "Answer a Lightning address (LUD-16)."),
    ("GET", "/lnurlp/{name}/links"): Row("Tell each way to write the address.", _ref("Links")),
    ("GET", "/lnurlp/verify/{store}/{payment_hash}"): Row("Tell whether it was paid (LUD-21).", _or_error("Verified")),
    **_lnurl_rows("/checkout-lnurl/{checkout}", "/checkout-lnurl/{checkout}/callback", "Answer a checkout's code."),
    **_lnurl_rows("/flashcard-lnurl/{address}", "/flashcard-lnurl/{address}/callback", "Answer a flashcard's code."),
    ("GET", "/flashcard-tap/{chip}"): Row(
        "Answer a tapped flashcard (LUD-03).", _or_error("WithdrawRequest"), query={"p": _TEXT, "c": _TEXT}
    ),
    ("GET", "/flashcard-tap/{chip}/callback"): Row(
        "Pay a terminal's BOLT11 with a tapped flashcard.",
        _or_error("Status"),
        query={"k1": _TEXT, "pr": _TEXT, "pin": _TEXT},
        needs=("k1", "pr"),
    ),
    ("GET", "/flashcard-keys"): Row("Tell an app the keys of a chip, once.", _ref("Any"), query={"a": _TEXT}),
    ("POST", "/flashcard-keys"): Row(
        "Tell an app the keys of a chip, once.", _ref("Any"), query={"a": _TEXT}, body={"UID": _TEXT, "LNURLW": _TEXT}
    ),
    ("GET", "/health"): Row("Tell whether a person should look.", _ref("Status"), also=(503,)),
    ("GET", "/live"): Row("Tell that the process runs.", _ref("Status")),
    ("GET", "/ready"): Row("Tell whether this replica can serve.", _ref("Status"), also=(503,)),
    ("GET", "/metrics"): Row("Tell figures for Prometheus.", kind="text/plain", opened_by="metrics"),
    ("GET", "/openapi.json"): Row("Tell what you read.", _ref("Any")),
    ("GET", "/api"): _page("Show what you read as a page."),
    ("GET", "/"): _sent_on("Lead to the page of the one shop there is."),
    ("GET", "/pay/{name}"): _page("Show a Lightning address, for payers."),
    ("GET", "/pay/{name}/code.svg"): _picture("Show its QR code."),
    ("GET", "/static/{name}"): Row("Serve script, style and icon.", kind="*/*"),
    ("GET", "/demo"): _page("Show a shop to try, in front of a sandbox."),
    ("POST", "/demo/buy"): _sent_on("Buy in it.", {"product": _TEXT, "form_token": _TEXT}),
    ("GET", "/checkout/{checkout}"): _page("Show a checkout, for payers."),
    ("GET", "/checkout/{checkout}/state"): Row("Tell how it stands.", _ref("Any")),
    ("GET", "/checkout/{checkout}/events"): Row("Tell each change of it as it comes.", kind=_STREAM),
    ("GET", "/checkout/{checkout}/{payment_hash}.svg"): _picture("Show the QR code of its invoice."),
    ("GET", "/checkout/{checkout}/lnurl.svg"): _picture("Show the QR code that lasts."),
    ("POST", "/checkout/{checkout}/pay"): _sent_on("Pay it, in front of a sandbox.", {"form_token": _TEXT}),
    ("GET", "/flashcards/{card}"): _page("Show a flashcard, for its holder."),
    ("GET", "/flashcards/{card}/state"): Row("Tell how it stands.", _ref("Any")),
    ("GET", "/flashcards/{card}/events"): Row("Tell each change of it as it comes.", kind=_STREAM),
    ("GET", "/flashcards/{card}/code.svg"): _picture("Show its QR code."),
    ("POST", "/flashcards/{card}/topup"): _sent_on("Open a checkout.", {"amount": _TEXT, "form_token": _TEXT}),
}  # fmt: skip
"""By method and path. OPTIONS, which browsers ask before LNURL, is left out."""
