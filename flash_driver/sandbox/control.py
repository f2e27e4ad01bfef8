"""The control endpoint: JSON over HTTP under `/control`, on the sandbox's own port.

It needs no token, so while the sandbox is bound to loopback it answers loopback peers only. Whatever is wrong with a
request is told in one sentence, `{"error": "..."}`, with status 400 (bad request), 404 (unknown) or 409 (not now).

    POST /control/pay              {"payment_request", "msat"?, "force"?}
        Pays an invoice of the sandbox from outside; answers {"preimage", "payment_hash"}. `msat` is for invoices
        without an amount (default 100000). 404 for a foreign invoice, 409 if it is paid or expired; `force` pays an
        expired one.
    POST /control/foreign_invoice  {"msat"?, "description"?, "expiry_seconds"?}
        Mints a regtest BOLT11 of some other node, for payments out of the sandbox; answers {"payment_request",
        "payment_hash", "preimage"}. Without `msat` its payer chooses the amount.
    POST /control/resolve_payment  {"payment_hash", "status": "SUCCESS" | "FAILURE"}
        Decides what became of the payments of this hash that are PENDING; answers {"resolved": n}.
    GET  /control/ledger
        {"invoices": [...], "payments": [...], "wallets": [...], "operations": {field: {"websocket": n, "http": n}},
        "executed": {the same}, "connections": {"open", "opened", "acknowledged", "refused_handshakes",
        "http_requests", "http_unauthorized"}, "limits": {"own" | "public": {"used": n, "blocked": bool}},
        "faults_armed": n}. `operations` counts what reached the server,
        whatever became of it; `executed` what was carried out. A payment's `times_executed` above 1 is a double
        payment. Amounts named `cents` are satoshis in a BTC wallet.
    POST /control/price            {"usd_per_btc"?, "spread"?, "drift_percent_per_minute"?}
        Moves the price and tells whoever listens. Numbers may be texts, to be exact.
    POST /control/announce         {"payment_hash", "status"?: PENDING, PAID (default) or EXPIRED, "wallet_id"?}
        Payments an LnUpdate to the account, true or not; the ledger is not touched.
    POST /control/custodian        {"seconds"}
        Sets how long the custodian takes for an invoice, a payment or a fee probe.
    POST /control/cutover          {"state": "PRE" | "IN_PROGRESS" | "COMPLETE" | "ROLLED_BACK",
                                    "migration"?: "NOT_BEGUN" (default) | "MOVING" | "COMPLETE" | "FAILED"}
        Moves on the change from USD to USDT wallets; `migration` is this account's own state while IN_PROGRESS.
    POST /control/account          {"active"}
        Closes the account to new invoices, or opens it again.
    POST /control/purge            {"payment_hash"}
        Lets the custodian delete an invoice: a paid one is EXPIRED from then on. 404 if it is unknown.
    POST /control/log_in
        Opens a further session of the account; answers {"token"}. The earlier ones stay.
    POST /control/expire_session   {"expired"?: true}
        Ends the session of the token: HTTP answers 401, new sockets are anonymous, open ones live on until a socket
        opens with the same header. false undoes it.
    POST /control/reset
        Forgets invoices, payments, counts and faults; wallets are refilled, the price starts anew, credentials stay.
    POST /control/fault            {"kind", ...}
        Arms a fault; see below. DELETE /control/fault, or the kind `clear`, disarms all. Answers {"faults_armed": n}.

Faults. Each takes `count`, how often it strikes (default 1). Those that strike an operation also take `operation`, the
root field to wait for (default: any mutation; `*`: any operation), `when` and, where both are possible, `transport`
(`websocket` or `http`; default: either). One fault strikes per moment and operation, the one armed first; subscriptions
know only `before_execute`. `now` strikes all open sockets at once.

    kind              when (first is the default)         more
    close             before_execute after_execute now    code (default 1011; over HTTP the connection just ends)
    reset             before_execute after_execute now    (a TCP RST)
    silent            before_execute after_execute now    (TCP stays up, nothing is answered any more, not even pings)
    delay             before_execute after_execute        seconds (a delayed mutation is executed even if its client
                                                          has hung up by then)
    garbage           after_execute before_execute now    (a frame that is no JSON; over HTTP a page of HTML)
    truncate          after_execute before_execute        (the first half of the reply)
    http_status       before_execute after_execute        status, retry_after?    (HTTP only)
    decline           before_execute                      ("Only subscription operations are supported"; WebSocket only)
    error             before_execute                      code?, message?, channel: payload (default) or top
    refuse_handshake                                      status (default 503)
    no_ack                                                (the next connection_init stays without an answer)
    drop_first_event                                      (the next subscription does not get its first events)
    drop_settlement                                       (the next settlement is entered, but no event tells of it)
    wrong_invoice                                         what: network, amount, payment_hash or description_hash
    wrong_price                                           base: what realtimePrice says a satoshi costs, times 10^12
    payment                                               outcome: SUCCESS, FAILURE, PENDING, INSUFFICIENT_BALANCE, or
                                                          ERROR (no code; `executed`: whether the money left);
                                                          seconds: how long it takes
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, get_args

from aiohttp import web

from flash_driver.sandbox.bank.invoices import NotPayableError
from flash_driver.sandbox.bank.ledger import InvoiceStatus
from flash_driver.sandbox.bank.signer import NotAnInvoiceError, read_invoice
from flash_driver.sandbox.faults import BadFaultError
from flash_driver.sandbox.options import CutoverState, MigrationState, is_loopback
from flash_driver.sandbox.serving.http import json_response
from flash_driver.sandbox.serving.wire import read_json

if TYPE_CHECKING:
    from flash_driver.sandbox.simulation import Simulation

__all__ = ["BadControlRequestError", "control_routes"]

_LONGEST_SECONDS: Final = 3600
_Action = Callable[["Simulation", Mapping[str, Any]], dict[str, Any]]


class BadControlRequestError(ValueError):
    """A request to the control endpoint makes no sense."""


class _Body:
    """The JSON object of a request, read field by field."""

    def __init__(self, body: Mapping[str, Any], *known: str) -> None:
        unknown = sorted(body.keys() - set(known))
        if unknown:
            raise BadControlRequestError(f"unknown field {unknown[0]!r}; there are {', '.join(known) or 'none'}")
        self._body = body

    def text(self, name: str) -> str:
        value = self._body.get(name)
        if not isinstance(value, str):
            raise BadControlRequestError(f"{name!r} must be given, as a text")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._body.get(name, default)
        if not isinstance(value, bool):
            raise BadControlRequestError(f"{name!r} must be true or false")
        return value

    def positive(self, name: str) -> int | None:
        value = self._body.get(name)
        if value is not None and (type(value) is not int or value <= 0):
            raise BadControlRequestError(f"{name!r} must be a whole number above zero")
        return value

    def decimal(self, name: str) -> Decimal | None:
        value = self._body.get(name)
        if value is None:
            return None
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if isinstance(value, bool) or not number.is_finite():
            raise BadControlRequestError(f"{name!r} must be a number, or a text that reads as one")
        return number


def _pay(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    fields = _Body(body, "payment_request", "msat", "force")
    payment_request = fields.text("payment_request")
    force, msat = fields.flag("force", default=False), fields.positive("msat")
    preimage = sandbox.pay(payment_request, force=force, msat=msat)
    return {"preimage": preimage, "payment_hash": read_invoice(payment_request).payment_hash}


def _foreign_invoice(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    fields = _Body(body, "msat", "description", "expiry_seconds")
    signed = sandbox.foreign_invoice(
        msat=fields.positive("msat"),
        description=fields.text("description") if "description" in body else "",
        expiry_seconds=fields.positive("expiry_seconds") or 3600,
    )
    return {name: getattr(signed, name) for name in ("payment_request", "payment_hash", "preimage")}


def _resolve_payment(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    fields = _Body(body, "payment_hash", "status")
    status = fields.text("status")
    if status not in {"SUCCESS", "FAILURE"}:
        raise BadControlRequestError("'status' must be SUCCESS or FAILURE")
    return {"resolved": sandbox.resolve_payment(fields.text("payment_hash"), arrived=status == "SUCCESS")}


def _ledger(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    _Body(body)
    return sandbox.ledger_snapshot()


def _fault(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    if body.get("kind") == "clear":
        _Body(body, "kind")
        return _clear(sandbox, {})
    details = {name: value for name, value in body.items() if name != "kind"}
    sandbox.arm(body.get("kind", ""), **details)
    return _armed(sandbox)


def _clear(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    _Body(body)
    sandbox.clear_faults()
    return _armed(sandbox)


def _armed(sandbox: Simulation) -> dict[str, Any]:
    return {"faults_armed": sandbox.ledger_snapshot()["faults_armed"]}


def _price(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    fields = _Body(body, "usd_per_btc", "spread", "drift_percent_per_minute")
    usd_per_btc, spread = fields.decimal("usd_per_btc"), fields.decimal("spread")
    if usd_per_btc is not None and usd_per_btc <= 0:
        raise BadControlRequestError("'usd_per_btc' must be above zero")
    if spread is not None and not -1 < spread < 1:
        raise BadControlRequestError("'spread' must lie between -1 and 1")
    drift = fields.decimal("drift_percent_per_minute")
    sandbox.set_price(usd_per_btc=usd_per_btc, spread=spread, drift_percent_per_minute=drift)
    return {}


def _announce(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    fields = _Body(body, "payment_hash", "status", "wallet_id")
    status = body.get("status", "PAID")
    if status not in get_args(InvoiceStatus):
        raise BadControlRequestError("'status' must be PENDING, PAID or EXPIRED")
    wallet_id = fields.text("wallet_id") if "wallet_id" in body else None
    sandbox.announce(fields.text("payment_hash"), status=status, wallet_id=wallet_id)
    return {}


def _custodian(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    seconds = _Body(body, "seconds").decimal("seconds")
    if seconds is None or not 0 <= seconds <= _LONGEST_SECONDS:
        raise BadControlRequestError(f"'seconds' must be given, between 0 and {_LONGEST_SECONDS}")
    sandbox.set_custodian_seconds(float(seconds))
    return {}


def _cutover(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    _Body(body, "state", "migration")
    state: Any = body.get("state")
    migration: Any = body.get("migration", "NOT_BEGUN")
    for name, value, choices in (("state", state, CutoverState), ("migration", migration, MigrationState)):
        if value not in get_args(choices):
            raise BadControlRequestError(f"{name!r} must be one of {', '.join(get_args(choices))}")
    sandbox.set_cutover(state, migration)
    return {}


def _account(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    sandbox.set_active(active=_Body(body, "active").flag("active", default=True))
    return {}


def _purge(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    sandbox.purge(_Body(body, "payment_hash").text("payment_hash"))
    return {}


def _log_in(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    _Body(body)
    return {"token": sandbox.log_in()}


def _expire_session(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    sandbox.expire_session(expired=_Body(body, "expired").flag("expired", default=True))
    return {}


def _reset(sandbox: Simulation, body: Mapping[str, Any]) -> dict[str, Any]:
    _Body(body)
    sandbox.reset()
    return {}


_ACTIONS: Final[dict[tuple[str, str], _Action]] = {
    ("POST", "pay"): _pay,
    ("POST", "foreign_invoice"): _foreign_invoice,
    ("POST", "resolve_payment"): _resolve_payment,
    ("GET", "ledger"): _ledger,
    ("POST", "price"): _price,
    ("POST", "announce"): _announce,
    ("POST", "custodian"): _custodian,
    ("POST", "cutover"): _cutover,
    ("POST", "account"): _account,
    ("POST", "purge"): _purge,
    ("POST", "log_in"): _log_in,
    ("POST", "expire_session"): _expire_session,
    ("POST", "reset"): _reset,
    ("POST", "fault"): _fault,
    ("DELETE", "fault"): _clear,
}


def _read_body(text: bytes) -> dict[str, Any]:
    body = read_json(text or b"{}")
    if not isinstance(body, dict):
        raise BadControlRequestError("the body must be a JSON object")
    return body


def control_routes(sandbox: Simulation) -> list[web.RouteDef]:
    """Make the routes of one sandbox's control endpoint."""
    return [web.route(method, f"/control/{name}", _handler(sandbox, act)) for (method, name), act in _ACTIONS.items()]


def _handler(sandbox: Simulation, act: _Action) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        if sandbox.options.loopback and not is_loopback(request.remote or ""):
            return json_response({"error": "only local peers may control this sandbox"}, status=403)
        try:
            return json_response(act(sandbox, _read_body(await request.read())))
        except (BadControlRequestError, BadFaultError, NotAnInvoiceError) as error:
            return json_response({"error": str(error)}, status=400)
        except LookupError:
            return json_response({"error": "the sandbox did not issue this invoice"}, status=404)
        except NotPayableError as error:
            return json_response({"error": str(error)}, status=409)

    return handle
