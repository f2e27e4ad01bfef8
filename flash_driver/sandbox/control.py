"""The control endpoint: JSON over HTTP under `/control`, on the sandbox's own port.

It needs no token, so while the sandbox is bound to loopback it answers loopback peers only. What is wrong with a
request is told in one sentence, `{"error": "..."}`, with status 400 (bad request), 404 (unknown) or 409 (not now).

Its commands and the faults that it arms are described in docs/sandbox.md; a test holds the two together.
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
