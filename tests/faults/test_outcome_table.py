"""The table of outcomes (flash_api/outcomes.py), row by row over real sockets, on every transport, by the ledger.

A row says what the server does to one mutation; then what comes of creating an invoice and of paying with this
transport alone, and how often the ledger says that it was carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import LightMoney, LightningError, PayInvoiceParams, PayResult
from connection_strings.errors import BackendUnavailable, CredentialRejected, InvalidReply, RateLimited, RequestRefused
from tests.support.driver import operations
from tests.support.timing import SHORT

if TYPE_CHECKING:
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

ALL = ("websocket", "http", "graphql")
OVER_HTTP = ("http", "graphql")
SOCKET = ("websocket",)
OK, ERROR, UNKNOWN = PayResult.OK, PayResult.ERROR, PayResult.UNKNOWN
PAY, CREATE = "lnInvoicePaymentSend", "lnUsdInvoiceCreate"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        fault: What the server does.
        transports: Where it can.
        paid: What a host is told of a payment, and how often the money left.
        created: What a host is told of an invoice (None: it gets it), and how many the server made.

    """

    fault: dict[str, Any]
    transports: tuple[str, ...]
    paid: tuple[PayResult, int]
    created: tuple[type[LightningError] | None, int]

    @property
    def name(self) -> str:
        """The fault in words."""
        return "-".join(str(value) for value in self.fault.values())


def before(kind: str, **details: Any) -> dict[str, Any]:
    """Return a fault that strikes before the mutation is executed."""
    return {"kind": kind, "when": "before_execute", **details}


def after(kind: str, **details: Any) -> dict[str, Any]:
    """Return a fault that strikes when the mutation has been executed and its answer is due."""
    return {"kind": kind, "when": "after_execute", **details}


ROWS = (
    # Lost on the way there: asked again with the same key, a payment is then made for the first time.
    Row(before("reset"), ALL, (OK, 1), (BackendUnavailable, 0)),
    Row(before("close"), ALL, (OK, 1), (BackendUnavailable, 0)),
    Row(before("silent"), SOCKET, (OK, 1), (BackendUnavailable, 0)),
    # A socket that is dead shows it; over HTTP silence is waited for to the end, because it may be a slow custodian.
    Row(before("silent"), OVER_HTTP, (UNKNOWN, 0), (BackendUnavailable, 0)),
    Row(before("garbage"), ALL, (OK, 1), (BackendUnavailable, 0)),
    Row(before("truncate"), ALL, (OK, 1), (BackendUnavailable, 0)),
    Row(before("http_status", status=500), OVER_HTTP, (OK, 1), (BackendUnavailable, 0)),
    Row(before("http_status", status=504), OVER_HTTP, (OK, 1), (BackendUnavailable, 0)),
    # Lost on the way back: what the server has kept under the key is brought out, nothing is made twice.
    Row(after("reset"), ALL, (OK, 1), (BackendUnavailable, 1)),
    Row(after("close"), ALL, (OK, 1), (BackendUnavailable, 1)),
    Row(after("close", code=4500), SOCKET, (OK, 1), (BackendUnavailable, 1)),
    Row(after("silent"), SOCKET, (OK, 1), (BackendUnavailable, 1)),
    Row(after("silent"), OVER_HTTP, (UNKNOWN, 1), (BackendUnavailable, 1)),
    Row(after("garbage"), ALL, (OK, 1), (BackendUnavailable, 1)),
    Row(after("truncate"), ALL, (OK, 1), (BackendUnavailable, 1)),
    Row(after("http_status", status=502), OVER_HTTP, (OK, 1), (BackendUnavailable, 1)),
    # Certainly not carried out, and said so.
    Row(before("decline", count=9), SOCKET, (ERROR, 0), (BackendUnavailable, 0)),
    Row(before("http_status", status=401, count=9), OVER_HTTP, (ERROR, 0), (CredentialRejected, 0)),
    Row(before("http_status", status=400, count=9), OVER_HTTP, (ERROR, 0), (BackendUnavailable, 0)),
    Row(before("http_status", status=429), OVER_HTTP, (ERROR, 0), (RateLimited, 0)),
    Row(before("error", code="NOT_AUTHORIZED", channel="top"), OVER_HTTP, (ERROR, 0), (CredentialRejected, 0)),
    # One such word proves nothing where the socket shows at the same time that the session lives.
    Row(before("error", code="NOT_AUTHORIZED", channel="top"), SOCKET, (ERROR, 0), (BackendUnavailable, 0)),
    Row(before("error", code="TOO_MANY_REQUEST"), ALL, (ERROR, 0), (RateLimited, 0)),
    Row(before("error", code="INVALID_INPUT"), ALL, (ERROR, 0), (RequestRefused, 0)),
    Row(before("error", code="INSUFFICIENT_BALANCE"), ALL, (ERROR, 0), (RequestRefused, 0)),
    # The server has answered and does not know, or may not: nothing is kept under the key, so it is not asked again.
    Row(before("error", code="IBEX_ERROR"), ALL, (UNKNOWN, 0), (BackendUnavailable, 0)),
    Row(before("error", code="UNKNOWN_CLIENT_ERROR"), ALL, (UNKNOWN, 0), (BackendUnavailable, 0)),
    Row(before("error", code="INTERNAL_SERVER_ERROR", channel="top"), ALL, (UNKNOWN, 0), (BackendUnavailable, 0)),
    Row(before("error", code="SUBREQUEST_HTTP_ERROR", channel="top"), ALL, (OK, 1), (BackendUnavailable, 0)),
    # What the custodian makes of a payment; an invoice is not its business.
    Row({"kind": "payment", "outcome": "SUCCESS"}, ALL, (OK, 1), (None, 1)),
    Row({"kind": "payment", "outcome": "FAILURE"}, ALL, (ERROR, 0), (None, 1)),
    Row({"kind": "payment", "outcome": "INSUFFICIENT_BALANCE"}, ALL, (ERROR, 0), (None, 1)),
    Row({"kind": "payment", "outcome": "PENDING"}, ALL, (UNKNOWN, 1), (None, 1)),
    Row({"kind": "payment", "outcome": "ERROR"}, ALL, (UNKNOWN, 0), (None, 1)),
    Row({"kind": "payment", "outcome": "ERROR", "executed": True}, ALL, (UNKNOWN, 1), (None, 1)),
    # An invoice that is not what was asked for is not handed out.
    Row({"kind": "wrong_invoice", "what": "network"}, ALL, (OK, 1), (InvalidReply, 1)),
    Row({"kind": "wrong_invoice", "what": "payment_hash"}, ALL, (OK, 1), (InvalidReply, 1)),
)
CASES = [pytest.param(row, way, id=f"{row.name}-{way}") for row in ROWS for way in row.transports]


def arm(sandbox: Sandbox, row: Row, field: str) -> None:
    """Arm the row's fault, waiting for this mutation where it waits at all."""
    details = {name: value for name, value in row.fault.items() if name != "kind"}
    sandbox.arm(row.fault["kind"], **details, **({"operation": field} if "when" in details else {}))


@pytest.mark.parametrize(("row", "transport"), CASES)
async def test_paying(bench: Bench, row: Row, transport: str) -> None:
    """A host is told the truth of its payment, or UNKNOWN, and the money leaves once at most."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports=transport, timing=SHORT)
    await client.warm_up()
    signed = sandbox.foreign_invoice(50_000)
    arm(sandbox, row, PAY)
    answer = await client.pay(signed.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=2)))
    entries = sandbox.ledger_snapshot()["payments"]
    executed = entries[0]["times_executed"] if entries else 0
    assert (answer.result, executed) == row.paid
    payment = await client.get_payment(signed.payment_hash)
    assert payment is not None
    assert answer.details is not None
    assert payment.status is answer.details.status
    assert (payment.fee, payment.amount_sent, answer.details.fee_amount, answer.details.total_amount) == (None,) * 4


@pytest.mark.parametrize(("row", "transport"), CASES)
async def test_creating(bench: Bench, row: Row, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host gets the invoice, or hears why not; one that the server made in vain is the only harm."""
    monkeypatch.setattr("flash_driver.invoices.creation._SERVER_SECONDS", 1.0)
    sandbox = await bench.sandbox(invoice_unit="sat")  # the first invoice will do: no better amount is asked for
    client = await bench.client(sandbox, transports=transport, timing=SHORT)
    await client.warm_up()
    arm(sandbox, row, CREATE)
    expected, made = row.created
    if expected is None:
        await client.create_invoice(LightMoney.from_sat(1000))
    else:
        with pytest.raises(expected):
            await client.create_invoice(LightMoney.from_sat(1000))
    assert sum(sandbox.ledger_snapshot()["executed"].get(CREATE, {}).values()) == made
    assert set(operations(sandbox, CREATE)) == {"websocket" if transport == "websocket" else "http"}
