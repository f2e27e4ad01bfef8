"""Incoming payments: `/createinvoice` and `/payments/incoming`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from connection_strings import CreateInvoiceParams, LightningError, LightningInvoiceStatus
from connection_strings.checks import read_payment_hash
from lightning_host.host import HOST
from lightning_host.lnurl.pay import exact_invoice
from lightning_host.phoenixd.paging import PAGE_FIELDS, read_page
from lightning_host.phoenixd.values import cut_description, incoming_data, whole_sat
from lightning_host.web.bodies import Fields, read_form
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from connection_strings import LightningInvoice
    from lightning_host.host import Host
    from lightning_host.invoices import HostInvoice
    from lightning_host.stores import Store

__all__ = ["PURPOSE", "create", "list_incoming", "look_up"]

PURPOSE: Final = "phoenixd"
_DEFAULT_EXPIRY_SECONDS: Final = 3600
_LONGEST_SECONDS: Final = 365 * 24 * 3600
_LONGEST_DESCRIPTION: Final = 8192
_FIELDS: Final = ("description", "descriptionHash", "amountSat", "expirySeconds", "externalId", "webhookUrl")
_LAST_WORD: Final = timedelta(minutes=2)
"""How long after a BOLT11's expiry a wallet's "unpaid" is no last word: a payment in time may be reported late."""


async def create(request: web.Request, store: Store) -> web.Response:
    """Make an invoice; as with phoenixd, a description or the hash of one has to be given, if only an empty one."""
    host = request.app[HOST]
    fields = await read_form(request, host.settings.request_seconds)
    with fields.together(*_FIELDS):
        if request.query:
            fields.note(next(iter(request.query)), "belongs into the body")
        if "description" not in fields and "descriptionHash" not in fields:
            fields.note("description", "is missing, and so is descriptionHash; one of them is needed")
        if "webhookUrl" in fields:
            fields.note("webhookUrl", "is not served; webhooks are registered at /api/v1/stores/STORE/webhooks")
        wanted_hash = _read_hash(fields)
        text = fields.text("description", default="", longest=_LONGEST_DESCRIPTION)
        # BTCPay asks for 0 seconds when its own invoice is about to expire.
        seconds = max(1, fields.whole("expirySeconds", default=_DEFAULT_EXPIRY_SECONDS, most=_LONGEST_SECONDS))
        amount = fields.sat("amountSat") if "amountSat" in fields else None
        external_id = fields.text("externalId", longest=512) if "externalId" in fields else None
    params = CreateInvoiceParams(
        amount=amount,
        description=store.title if wanted_hash else cut_description(text),
        expiry=timedelta(seconds=seconds),
        description_hash=wanted_hash,
    )
    # A hash means that an LNURL wallet pays, which refuses another amount; the client does not compare it (LNbits).
    make = host.invoices.create if wanted_hash is None else partial(exact_invoice, host)
    invoice = await make(store, params, purpose=PURPOSE, external_id=external_id)
    return web.json_response(
        {"amountSat": whole_sat(invoice.amount), "paymentHash": invoice.payment_hash, "serialized": invoice.bolt11}
    )


async def look_up(request: web.Request, store: Store) -> web.Response:
    """Tell how an invoice stands; what is not known is never told as unpaid once the BOLT11 is over (clients.py)."""
    host, payment_hash = request.app[HOST], read_payment_hash(request.match_info["payment_hash"])
    made = None if payment_hash is None else await host.invoices.find(store.id, payment_hash)
    if payment_hash is None or made is None:
        raise ProblemError.make(404, "not-found", "there is no invoice with this payment hash")
    settlement, invoice = await host.settlements.find(store.id, payment_hash), None
    if settlement is None:
        invoice = await _ask(host, store, made)
        settlement = await host.settlements.find(store.id, payment_hash)
    if settlement is not None:
        (settlement,) = await host.lookups.complete(store, [settlement])
    return web.json_response(incoming_data(made, settlement, invoice))


async def _ask(host: Host, store: Store, made: HostInvoice) -> LightningInvoice | None:
    """Ask the wallet; None while it can't tell, or does not know the invoice.

    Raises:
        ProblemError: The BOLT11 is over, and whether it was paid is not known (503).

    """
    invoice, reason = None, "the wallet has not said its last word yet"
    try:
        invoice = await host.lookups.look_up(store, made.payment_hash)
        told = invoice is None or invoice.status is not LightningInvoiceStatus.UNPAID
    except LightningError as error:
        told, reason = False, str(error)
    now = datetime.now(UTC)
    if not told and now >= made.expires_at and (invoice is None or now < made.expires_at + _LAST_WORD):
        raise ProblemError.make(503, "not-known-yet", f"whether it was paid is not known yet: {reason}")
    return invoice


async def list_incoming(request: web.Request, store: Store) -> web.Response:
    """List invoices, newest first; only settled ones unless all are asked for."""
    host, query = request.app[HOST], Fields(request.query)
    with query.together("externalId", *PAGE_FIELDS):
        page = read_page(query)
        external_id = query.text("externalId") if "externalId" in query else None
    listed = await host.settlements.invoices(
        store.id,
        settled_only=not page.everything,
        external_id=external_id,
        since=page.since,
        until=page.until,
        offset=page.offset,
        limit=page.limit,
    )
    settled = await host.lookups.complete(store, [settlement for _, settlement in listed if settlement is not None])
    by_hash = {settlement.payment_hash: settlement for settlement in settled}
    return web.json_response([incoming_data(made, by_hash.get(made.payment_hash)) for made, _ in listed])


def _read_hash(fields: Fields) -> str | None:
    if "descriptionHash" not in fields:
        return None
    given = read_payment_hash(fields.text("descriptionHash", longest=64))
    if given is None:
        fields.note("descriptionHash", "must be 64 hexadecimal digits")
    return given
