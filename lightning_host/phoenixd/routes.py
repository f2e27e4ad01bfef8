"""phoenixd's HTTP API, so that an unmodified BTCPay Server or LNbits uses any driver that this host loads.

Configuration is all it takes: for BTCPay `type=phoenixd;server=http://HOST:PORT/;password=...`, for LNbits
`PHOENIXD_API_ENDPOINT` and `PHOENIXD_API_PASSWORD`. The password tells which store is meant.

What these clients make of an answer decides what it must be: see clients.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from lightning_host.phoenixd import events, invoices, payments
from lightning_host.phoenixd.clients import hang_up, reads_errors_as_no
from lightning_host.phoenixd.values import channel_less_info, whole_sat
from lightning_host.phoenixd.wallet_facts import WALLET_FACTS, WalletFacts
from lightning_host.web.api_access import store_of_password
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from lightning_host.stores import Store
    from lightning_host.web.problems import Problem

__all__ = ["PHOENIXD"]


def _add_routes(app: web.Application) -> None:
    for method, path, handler in (
        ("GET", "/getinfo", _getinfo),
        ("GET", "/getbalance", _getbalance),
        ("POST", "/createinvoice", invoices.create),
        ("GET", "/payments/incoming", invoices.list_incoming),
        ("GET", "/payments/incoming/{payment_hash}", invoices.look_up),
        ("POST", "/payinvoice", payments.pay),
        ("POST", "/paylnaddress", payments.pay_address),
        ("POST", "/lnurlpay", payments.pay_lnurl),
        ("POST", "/payoffer", payments.pay_offer),
        ("GET", "/payments/outgoing", payments.list_outgoing),
        ("GET", "/payments/outgoing/{payment_hash}", payments.find),
        ("GET", "/payments/outgoingbyhash/{payment_hash}", payments.find),
        ("GET", "/websocket", events.tell_events),
    ):
        app.router.add_route(method, path, _authorized(handler, pays=handler in _PAYING))
    app.cleanup_ctx.append(_life)


async def _life(app: web.Application) -> AsyncIterator[None]:
    facts = app[WALLET_FACTS] = WalletFacts()
    yield
    await facts.aclose()


_PAYING: Final = (payments.pay, payments.pay_address, payments.pay_lnurl, payments.pay_offer)


def _authorized(
    handler: Callable[[web.Request, Store], Awaitable[web.StreamResponse]], *, pays: bool
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Let a request in by its password, which tells the store, too."""

    async def authorize(request: web.Request) -> web.StreamResponse:
        return await handler(request, await store_of_password(request, pays=pays))

    return authorize


async def _getinfo(request: web.Request, store: Store) -> web.Response:
    return web.json_response(channel_less_info(*await request.app[WALLET_FACTS].get(store)))


async def _getbalance(request: web.Request, store: Store) -> web.Response:
    _, balance = await request.app[WALLET_FACTS].get(store)
    sat = 0 if balance is None else whole_sat(balance.offchain.local)
    return web.json_response({"balanceSat": sat, "feeCreditSat": 0})


def _tell(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem where both clients look for it: LNbits in `message`, BTCPay in `error`; or hang up."""
    status = 400 if problem.status == 422 else problem.status
    if reads_errors_as_no(request, status):
        hang_up(request)
    words = "; ".join(f"{name} {why}" for name, why in problem.fields) or problem.message
    return web.json_response({"error": words, "message": words}, status=status, headers=problem.headers)


PHOENIXD: Final = RouteGroup(
    name="phoenixd",
    prefixes=(
        *("/getinfo", "/getbalance", "/createinvoice", "/websocket", "/payments/"),
        *("/payinvoice", "/paylnaddress", "/lnurlpay", "/payoffer"),
    ),
    add_routes=_add_routes,
    tell=_tell,
)
"""`/getinfo`, `/createinvoice`, `/payinvoice`, `/paylnaddress`, `/lnurlpay`, `/payments/...`, `/websocket`."""
