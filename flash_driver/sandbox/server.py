"""One running sandbox: a Flash-compatible server on one port, with its control endpoint."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from flash_driver.sandbox.bank.bank import open_bank
from flash_driver.sandbox.bank.broker import account_topic
from flash_driver.sandbox.bank.invoices import Invoices, Settled
from flash_driver.sandbox.bank.payments import Payments
from flash_driver.sandbox.bank.signer import read_invoice
from flash_driver.sandbox.control import control_routes
from flash_driver.sandbox.faults import parse_fault
from flash_driver.sandbox.options import SandboxOptions
from flash_driver.sandbox.schema.schema import flash_schema
from flash_driver.sandbox.schema.subscriptions import publish_price
from flash_driver.sandbox.serving.credentials import Credentials
from flash_driver.sandbox.serving.engine import Engine
from flash_driver.sandbox.serving.http import serve_http
from flash_driver.sandbox.serving.websocket import serve_websocket

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from types import TracebackType

    from flash_driver.sandbox.bank.custodian import Clock
    from flash_driver.sandbox.bank.ledger import InvoiceStatus
    from flash_driver.sandbox.bank.signer import SignedInvoice

__all__ = ["Sandbox", "run_sandbox"]

_SHUTDOWN_TIMEOUT: Final = 1.0
_DEFAULT_MSAT: Final = 100_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Sandbox:
    """A Flash-compatible server, for development, demos and tests.

        async with Sandbox(SandboxOptions(ws_mutations="decline")) as sandbox:
            client = factory.create(sandbox.connection_string)

    Args:
        options: How it behaves.
        clock: Tells it the time; tests may have their own.

    """

    def __init__(self, options: SandboxOptions | None = None, *, clock: Clock = _utc_now) -> None:
        self.options = options or SandboxOptions()
        self._bank = open_bank(self.options, clock)
        self._invoices = Invoices(self._bank)
        self._sends = Payments(self._bank, self._invoices)
        self._credentials = Credentials(self.options, self._bank.owner, self._bank.stranger)
        self._engine: Engine | None = None
        self._runner: web.AppRunner | None = None
        self._port = self.options.port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Bind to the port and serve.

        Raises:
            OSError: The port is taken, or the host isn't this machine's.

        """
        engine = Engine(
            self._bank, self._invoices, self._sends, self._credentials, flash_schema(self.options.max_complexity)
        )
        app = web.Application()
        app.add_routes(
            [web.post("/graphql", partial(serve_http, engine)), web.get("/graphql", partial(serve_websocket, engine))]
        )
        app.add_routes(control_routes(self))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._address, self.options.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._engine, self._runner = engine, runner
        self._port = runner.addresses[0][1]
        self._bank.tasks.start(self._tick(), "price ticks")

    async def aclose(self) -> None:
        """Close every socket and end every task; a closed sandbox stays closed."""
        if self._engine is None or self._runner is None:
            return
        self._engine.closing.set()
        await asyncio.gather(*(each.close(1001, "Going away") for each in [*self._engine.sockets]))
        await self._runner.cleanup()
        await self._bank.tasks.cancel()
        self._engine = self._runner = None

    @property
    def server(self) -> str:
        """The URL of GraphQL over HTTP."""
        return f"http://{self._authority}/graphql"

    @property
    def websocket(self) -> str:
        """The URL of GraphQL over WebSocket."""
        return f"ws://{self._authority}/graphql"

    @property
    def control(self) -> str:
        """The URL that the control endpoint's paths are appended to."""
        return f"http://{self._authority}/control"

    @property
    def token(self) -> str:
        """The session token of the account."""
        return self._credentials.token

    @property
    def api_key(self) -> str:
        """The API key of the account."""
        return self._credentials.api_key

    @property
    def wallet_id(self) -> str:
        """The account's default wallet."""
        return self._bank.owner.default_wallet_id

    @property
    def wallet_ids(self) -> dict[str, str]:
        """The account's wallets by currency."""
        return {each.currency: each.id for each in self._bank.owner.wallets if not each.external}

    @property
    def stranger_token(self) -> str:
        """The session token of another user."""
        return self._credentials.stranger_token

    @property
    def stranger_wallet_id(self) -> str:
        """A wallet of another user."""
        return self._bank.stranger.default_wallet_id

    @property
    def connection_string(self) -> str:
        """The line that a host is configured with."""
        return f"type=flash;server={self.server};token={self.token};allowinsecure=true"

    @property
    def _address(self) -> str:
        """Where to bind: a free port would not be the same one on each address of `localhost`."""
        return "127.0.0.1" if self.options.host == "localhost" else self.options.host

    @property
    def _authority(self) -> str:
        host = self.options.advertised_host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def ready_line(self) -> dict[str, str]:
        """Tell all that a client or a test needs to begin."""
        names = ("connection_string", "server", "websocket", "token", "api_key", "wallet_id", "control")
        return {name: getattr(self, name) for name in names}

    def pay(self, payment_request: str, *, force: bool = False, msat: int | None = None) -> str:
        """Pay an invoice of the sandbox from outside; give back its preimage.

        Args:
            payment_request: The BOLT11.
            force: Pay it even if it has expired, as a payment that was in flight.
            msat: What to pay where the invoice doesn't say.

        Raises:
            NotAnInvoiceError: It is no BOLT11.
            LookupError: The sandbox did not issue it.
            NotPayableError: It is paid already, or expired.

        """
        asked = read_invoice(payment_request)
        invoice = self._bank.ledger.invoices.get(asked.payment_hash)
        if invoice is None:
            raise LookupError("the sandbox did not issue this invoice")
        self._invoices.settle(invoice, msat=asked.msat or msat or _DEFAULT_MSAT, late=force)
        return invoice.signed.preimage

    def foreign_invoice(
        self, msat: int | None = None, *, description: str = "", expiry_seconds: int = 3600
    ) -> SignedInvoice:
        """InvoiceSigner an invoice of some other node on the network."""
        return self._bank.network.sign(
            msat=msat,
            description=description,
            now=self._bank.clock(),
            expiry=timedelta(seconds=expiry_seconds),
        )

    def announce(self, payment_hash: str, *, status: InvoiceStatus = "PAID", wallet_id: str | None = None) -> None:
        """Send an `LnUpdate` to the account that the ledger knows nothing of: a lie, a stranger's, or a repetition."""
        event = Settled(payment_hash, wallet_id or self.wallet_id, status)
        self._bank.broker.publish(account_topic(self._bank.owner.id), event)

    def resolve_payment(self, payment_hash: str, *, arrived: bool) -> int:
        """Decide what became of the payments of a hash that are pending; give back how many there were."""
        return len(self._sends.resolve(payment_hash, arrived=arrived))

    def ledger_snapshot(self) -> dict[str, Any]:
        """Lay open what really happened, as `GET /control/ledger` does."""
        return {
            **self._bank.ledger.snapshot(self._bank.clock()),
            **self._bank.traffic.snapshot(),
            "limits": self._bank.limiters.snapshot(self._bank.owner.id, self._bank.clock()),
            "faults_armed": self._bank.faults.armed,
        }

    def arm(self, kind: str, /, **details: Any) -> None:
        """Arm a fault, as `POST /control/fault` does.

        Raises:
            BadFaultError: There is no such fault, or it doesn't take that.

        """
        fault = parse_fault({"kind": kind, **details})
        if fault.when != "now":
            self._bank.faults.arm(fault)
        elif self._engine is not None:
            for connection in self._engine.sockets:
                self._bank.tasks.start(connection.strike(fault), "fault")

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._bank.faults.clear()

    def set_price(
        self,
        *,
        usd_per_btc: Decimal | None = None,
        spread: Decimal | None = None,
        drift_percent_per_minute: Decimal | None = None,
    ) -> None:
        """Move the price, and tell whoever listens."""
        self._bank.custodian.set_price(
            usd_per_btc=usd_per_btc, spread=spread, drift_percent_per_minute=drift_percent_per_minute
        )
        publish_price(self._bank)

    def set_custodian_seconds(self, seconds: float) -> None:
        """Let the custodian take this long from now on, for invoices, payments and fee probes."""
        self._bank.custodian_seconds = seconds

    def log_in(self) -> str:
        """Give the account a further session token, as a new login does; the others stay."""
        return self._credentials.log_in()

    def expire_session(self, *, expired: bool = True) -> None:
        """End the token's session, or let it begin again."""
        self._credentials.expire(expired=expired)

    def reset(self) -> None:
        """Forget all that happened; credentials and wallets stay."""
        self._bank.reset()
        self._sends.forget()
        self._credentials.expire(expired=False)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.options.price_tick_seconds)
            publish_price(self._bank)


async def run_sandbox(options: SandboxOptions, *, on_ready: Callable[[Sandbox], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is called once the sandbox can be reached."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Sandbox(options) as sandbox:
            on_ready(sandbox)
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
