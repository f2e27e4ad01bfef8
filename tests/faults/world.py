"""A world: a server, a network that fails, and a host; played through a schedule and judged by the server's ledger."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from connection_strings import CreateInvoiceParams, LightMoney, LightningError, ListPaymentsParams
from flash_driver.accounts.pool import Pool
from flash_driver.journal.urls import JournalUrl
from flash_driver.payments.attempt import Persistence
from flash_driver.sandbox import Sandbox, SandboxOptions
from flash_driver.sandbox.bank.invoices import NotPayableError
from flash_driver.settings.process import ProcessSettings
from flash_driver.transports.websocket.handshake import Limits
from tests.faults.host import Host
from tests.faults.patience import while_it_moves
from tests.faults.schedule import LONG_SECONDS
from tests.support.driver import Bench
from tests.support.proxy import FaultProxy
from tests.support.timing import short

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from connection_strings import LightningInvoice
    from flash_driver.client import FlashLightningClient
    from tests.faults.schedule import Schedule, Step

__all__ = ["LEFT_OUT", "SettleOn", "Verdict", "World", "play"]

SettleOn: TypeAlias = Literal["query", "event"]

LEFT_OUT: Final = "left out: a forged settlement"
"""Under this name the lies are counted that a host who believes events is not told."""

_GRACE_SECONDS: Final = 1
_PATIENT: Final = Limits(ping_interval=0.5, ping_timeout=3.0, suspicion_timeout=1.0, close_timeout=0.2)
_NEVER_GIVES_UP: Final = Limits(
    ping_interval=LONG_SECONDS, ping_timeout=LONG_SECONDS, suspicion_timeout=LONG_SECONDS, close_timeout=0.2
)
_TRUSTS_SENDERS: Final = Persistence(
    pauses=(0.05, 0.1, 0.2, 0.3), margin=LONG_SECONDS, look=0.05, later=(0.2, 0.5, 1.0)
)
"""For worlds in which no answer gets lost: a slow machine must not lose one by giving up."""
_EVERY_WAY: Final = "websocket,http,graphql"
_ALL_OF_THEM: Final = 1_000_000
_PATIENT_SECONDS: Final = 10.0
_LOCKED_SECONDS: Final = 2.0
_AFTER_PAUSE: Final = 0.02


@dataclass(slots=True)
class Verdict:
    """What a schedule came to; the last six have to be nothing.

    Attributes:
        faults: How often each kind of fault struck.
        lost: Paid invoices that a listener was never given, or of which the host was told that they are dead.
        duplicated: Invoices that a listener was given twice.
        invented: Invoices or payments called paid that are not.
        disordered: Listeners that were given invoices in another order than their cursor says.
        double_payments: Payments for which the money left twice.
        leaks: Tasks or sockets left behind.

    """

    seeds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    invoices: int = 0
    settled: int = 0
    delivered: int = 0
    payments: int = 0
    unknown: int = 0
    lost: int = 0
    duplicated: int = 0
    invented: int = 0
    disordered: int = 0
    double_payments: int = 0
    leaks: int = 0
    bad_seeds: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Add what another schedule came to."""
        self.faults.update(other.faults)
        self.bad_seeds += other.bad_seeds
        self.notes += other.notes
        for name in (
            *("seeds", "invoices", "settled", "delivered", "payments", "unknown"),
            *("lost", "duplicated", "invented", "disordered", "double_payments", "leaks"),
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def failings(self) -> dict[str, int]:
        """What went wrong, and how often."""
        names = ("lost", "duplicated", "invented", "disordered", "double_payments", "leaks")
        return {name: count for name in names if (count := getattr(self, name))}

    @property
    def sound(self) -> bool:
        """Whether nothing was lost, doubled, invented or left behind."""
        return not self.failings


class World:
    """Server, network and host of one schedule."""

    def __init__(self, schedule: Schedule, settle_on: SettleOn = "query") -> None:
        self._schedule = schedule
        self._believes_events = settle_on == "event"
        self._faults: Counter[str] = Counter()
        self._deeds: set[asyncio.Task[None]] = set()
        timing = (
            short(connections=_PATIENT)
            if schedule.answers_get_lost
            else short(connections=_NEVER_GIVES_UP, payments=_TRUSTS_SENDERS)
        )
        self._pool, self._pool_elsewhere = Pool(timing), Pool(timing)
        self._late: set[str] = set()
        self._folder = TemporaryDirectory(prefix="world") if schedule.in_file else None
        self._closing: set[FlashLightningClient] = set()
        url = "memory:" if self._folder is None else f"sqlite+aiosqlite:///{self._folder.name}/journal.db"
        self._process = ProcessSettings(
            journal_url=JournalUrl.parse(url),
            invoice_budget=None,
            expiry_grace_seconds=_GRACE_SECONDS,
            network="regtest",
            settle_on=settle_on,
            linger_seconds=0,
        )

    async def play(self) -> Verdict:
        """Let everything happen, let it calm down, and judge."""
        async with AsyncExitStack() as stack:
            await self._begin(stack)
            ears = [asyncio.create_task(ear.listen()) for ear in self._host.ears]
            try:
                for ear in self._host.ears:
                    await ear.listening.wait()
                for step in self._schedule.steps:
                    await asyncio.sleep(step.after)
                    self._do(step)
                await self._calm_down()
                return await self._judge()
            finally:
                # Before any client is closed: a call on one that is closed takes everything up again.
                await _end(ears)

    async def _begin(self, stack: AsyncExitStack) -> None:
        if self._folder is not None:
            stack.enter_context(self._folder)
        self._bench = Bench(stack)
        without_amounts = ("read:user", "write:wallet")
        options = SandboxOptions(**{"rate_limit": "off", "api_key_scopes": without_amounts, **self._schedule.sandbox})
        self._sandbox = await stack.enter_async_context(Sandbox(options))
        self._proxy = await stack.enter_async_context(FaultProxy(self._sandbox.server))
        self._lose_events()
        clients = [await self._client(transports) for transports in self._schedule.transports]
        self._elsewhere = None
        if self._schedule.elsewhere:
            self._elsewhere = await self._client(_EVERY_WAY, self._pool_elsewhere)
        self._host = Host(clients, self._schedule.send_seconds)

    async def _client(self, transports: str, pool: Pool | None = None) -> FlashLightningClient:
        by_key = transports == "key"
        token = self._sandbox.api_key if by_key else self._sandbox.token
        text = f"type=flash;server={self._proxy.url};token={token};allowinsecure=true"
        ways = "http,graphql" if by_key else transports
        return await self._bench.client(text, pool or self._pool, self._process, transports=ways)

    def _lose_events(self) -> None:
        if self._schedule.all_events_lost:
            self._sandbox.arm("drop_settlement", count=_ALL_OF_THEM)

    # --- what happens -----------------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        """Begin what a step says; nobody waits for it."""
        house, _, name = step.act.rpartition(".")
        if house == "proxy":
            self._faults[f"network: {name}"] += 1
            self._break_network(name, step.details["size"])
        elif house == "server":
            self._faults[_name(name, step.details)] += 1
            self._sandbox.arm(name, **step.details)
        else:
            client = self._host.clients[step.details["client"]]
            self._start(self._deed(name)(client, step.details["pick"]))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._deeds.add(task)
        task.add_done_callback(self._deeds.discard)

    def _break_network(self, name: str, size: float) -> None:
        proxy = self._proxy
        match name:
            case "delay":
                proxy.delay = size * 0.2
            case "throttle":
                proxy.bytes_per_second = int(2_000 + size * 20_000)
            case "truncate":
                proxy.truncate(int(size * 2_000))
            case "refuse" | "ignore":
                proxy.accept = "refuse" if name == "refuse" else "ignore"
            case "reorder":
                proxy.hold()
                self._start(_later(0.1, proxy.release))
            case _:
                getattr(proxy, name)()

    def _deed(self, name: str) -> Callable[[FlashLightningClient, float], Coroutine[Any, Any, None]]:
        found: Callable[[FlashLightningClient, float], Coroutine[Any, Any, None]] = getattr(self, f"_{name}")
        return found

    async def _create(self, client: FlashLightningClient, pick: float) -> None:
        await self._host.create(client, 100 + int(pick * 5_000))

    async def _create_cancelled(self, client: FlashLightningClient, pick: float) -> None:
        await self._host.create(client, 100 + int(pick * 5_000), patience=pick * 0.05)

    async def _create_many(self, client: FlashLightningClient, pick: float) -> None:
        many = [CreateInvoiceParams(LightMoney.from_sat(100 + each), "many") for each in range(2 + int(pick * 5))]
        with contextlib.suppress(LightningError, TimeoutError):
            async with asyncio.timeout(1.5):
                self._host.invoices += await client.create_invoices(many)

    async def _create_elsewhere(self, client: FlashLightningClient, pick: float) -> None:
        await self._host.create(self._elsewhere or client, 100 + int(pick * 5_000))

    async def _create_amountless(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - has no amount
        await self._host.create(client, 0)

    async def _settle(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - a payer has no client
        payable = self._pending()
        if payable:
            self._payer_pays(payable[int(pick * len(payable))])

    async def _settle_all(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - as above
        for payment_request in self._pending():
            self._payer_pays(payment_request)

    async def _settle_late(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - as above
        """Let a payment land in the grace time: it was in flight when the invoice expired."""
        invoices = self._host.invoices
        if not invoices or self._schedule.sandbox["invoice_expiry_seconds"] > 2:
            return
        invoice = invoices[int(pick * len(invoices))]
        await asyncio.sleep(max(0.0, (invoice.expires_at - datetime.now(UTC)).total_seconds() + 0.1))
        if datetime.now(UTC) < invoice.expires_at + timedelta(seconds=_GRACE_SECONDS * 0.7):
            self._payer_pays(invoice.bolt11)

    async def _settle_expired(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - as above
        """Let a payment land long after the driver may have called its invoice expired."""
        rows = [row for row in self._sandbox.ledger_snapshot()["invoices"] if row["status"] == "EXPIRED"]
        if rows:
            row = rows[int(pick * len(rows))]
            self._late.add(row["payment_hash"])
            self._payer_pays(row["payment_request"])

    def _pending(self) -> list[str]:
        rows = self._sandbox.ledger_snapshot()["invoices"]
        return [row["payment_request"] for row in rows if row["status"] == "PENDING"]

    def _payer_pays(self, payment_request: str) -> None:
        with contextlib.suppress(NotPayableError):
            self._sandbox.pay(payment_request, force=True)

    async def _pay(self, client: FlashLightningClient, pick: float) -> None:
        signed = self._sandbox.foreign_invoice(1_000 + int(pick * 1_000_000))
        await self._host.pay(client, signed.payment_request, signed.payment_hash)

    async def _pay_amountless(self, client: FlashLightningClient, pick: float) -> None:
        signed = self._sandbox.foreign_invoice()
        amount = LightMoney.from_msat(5_000 + int(pick * 1_000_000))
        await self._host.pay(client, signed.payment_request, signed.payment_hash, amount=amount)

    async def _pay_with_fee_limit(self, client: FlashLightningClient, pick: float) -> None:
        signed = self._sandbox.foreign_invoice(1_000_000)
        limit = LightMoney.from_msat(int(pick * 20_000))
        await self._host.pay(client, signed.payment_request, signed.payment_hash, max_fee_flat=limit)

    async def _pay_twice(self, client: FlashLightningClient, pick: float) -> None:
        signed = self._sandbox.foreign_invoice(1_000 + int(pick * 1_000_000))
        other = self._host.clients[-1]
        await asyncio.gather(
            *(self._host.pay(each, signed.payment_request, signed.payment_hash) for each in (client, other, client))
        )

    async def _pay_cancelled(self, client: FlashLightningClient, pick: float) -> None:
        signed = self._sandbox.foreign_invoice(1_000 + int(pick * 1_000_000))
        await self._host.pay(client, signed.payment_request, signed.payment_hash, patience=pick * 0.05)

    async def _look_up(self, client: FlashLightningClient, pick: float) -> None:
        if self._host.invoices:
            await self._host.look_up(client, self._host.invoices[int(pick * len(self._host.invoices))])

    async def _listen_anew(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - any ear will do
        await self._host.ears[int(pick * len(self._host.ears))].listen_anew()

    async def _new_client(self, client: FlashLightningClient, pick: float) -> None:
        """Use a client for one call and close it, as hosts do."""
        if client in self._closing:
            return
        async with await self._client(self._schedule.transports[self._host.clients.index(client)]) as fresh:
            await self._create(fresh, pick)

    async def _close_client(self, client: FlashLightningClient, pick: float) -> None:
        """Close a client while it works, as a restart does, and go on with a new one on the same journal."""
        if not self._schedule.in_file or client in self._closing:
            return
        self._closing.add(client)
        transports = self._schedule.transports[self._host.clients.index(client)]
        if pick < 0.5:
            await client.aclose()
        self._host.replace(client, await self._client(transports))
        await client.aclose()
        self._faults["host: closed"] += 1

    async def _lock_journal(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - shared by all
        """Let something else write to the journal's file for a while."""
        if self._folder is None:
            return
        with contextlib.closing(sqlite3.connect(f"{self._folder.name}/journal.db", timeout=0)) as other:
            with contextlib.suppress(sqlite3.OperationalError):  # it is written to in this moment
                other.execute("BEGIN IMMEDIATE")
                self._faults["journal: locked"] += 1
            await asyncio.sleep(_LOCKED_SECONDS * pick)

    async def _lie(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - told to all
        """Announce a settlement that did not happen."""
        invoices = self._host.invoices
        if invoices and self._believes_events:
            # What a host asked to be believed is no invention of the driver's.
            self._faults[LEFT_OUT] += 1
        elif invoices:
            self._sandbox.announce(invoices[int(pick * len(invoices))].payment_hash)

    async def _stranger(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - told to all
        """Announce a settlement of somebody else's invoice."""
        self._sandbox.announce(f"{int(pick * 2**60):064x}")

    async def _resolve(self, client: FlashLightningClient, pick: float) -> None:  # noqa: ARG002 - the server's deed
        pending = [row for row in self._sandbox.ledger_snapshot()["payments"] if row["status"] == "PENDING"]
        if pending:
            row = pending[int(pick * len(pending))]
            self._sandbox.resolve_payment(row["payment_hash"], arrived=pick < 0.5)

    # --- the end ----------------------------------------------------------------------------------------------------

    async def _calm_down(self) -> None:
        """Let the faults end, and wait until every listener has heard of all that was paid, or nothing moves."""
        armed = self._sandbox._bank.faults._armed
        for fault in armed:
            if fault.count > _ALL_OF_THEM // 2:
                continue
            self._faults[_name(fault.kind, fault.details)] -= 1 if fault.count else 0
        self._sandbox.clear_faults()
        self._lose_events()
        self._proxy.heal()
        await while_it_moves(self._until_all_is_done(), self._signs_of_life)

    async def _until_all_is_done(self) -> None:
        await asyncio.gather(*self._deeds)
        await self._until_all_is_heard()
        await self._send_one_more()
        await self._until_all_is_heard()

    def _signs_of_life(self) -> object:
        """Say what changes while the host acts or hears; a question is no sign, it may be asked in vain for ever."""
        heard = [len(ear.heard) for ear in self._host.ears]
        return len(self._deeds), len(self._host.invoices), heard

    async def _until_all_is_heard(self) -> None:
        while True:
            owed = await self._owed()
            if all(owed <= {invoice.id for invoice in ear.heard} for ear in self._host.ears):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._host.heard.wait()
            self._host.heard.clear()

    async def _send_one_more(self) -> None:
        """Settle a last invoice: whatever would be given out twice comes before it."""
        while True:
            before = len(self._host.invoices)
            await self._host.create(self._host.clients[0], 77, patience=_PATIENT_SECONDS)
            if len(self._host.invoices) > before:
                self._payer_pays(self._host.invoices[-1].bolt11)
                return
            await asyncio.sleep(_AFTER_PAUSE)

    async def _owed(self) -> set[str]:
        """Return what the ledger calls paid, of all that the driver handed out or journalled."""
        paid = {row["payment_hash"] for row in self._sandbox.ledger_snapshot()["invoices"] if row["status"] == "PAID"}
        known = {invoice.id for invoice in await self._host.clients[0].list_invoices()}
        return paid & (known | {invoice.id for invoice in self._host.invoices})

    async def _judge(self) -> Verdict:
        ledger, host = self._sandbox.ledger_snapshot(), self._host
        paid = {row["payment_hash"]: row["msat_received"] for row in ledger["invoices"] if row["status"] == "PAID"}
        owed = await self._owed()
        verdict = Verdict(seeds=1, faults=+self._faults, invoices=len(ledger["invoices"]), settled=len(owed))
        for ear in host.ears:
            heard = [invoice.id for invoice in ear.heard]
            verdict.delivered += len(heard)
            verdict.lost += len(owed - set(heard))
            verdict.duplicated += len(heard) - len(set(heard))
            verdict.invented += sum(not _true(invoice, paid) for invoice in ear.heard)
        orders = {tuple(invoice.id for invoice in ear.heard) for ear in host.ears}
        verdict.disordered = 0 if verdict.lost or verdict.duplicated else len(orders) - 1
        verdict.lost += len(host.lost) + len((host.said_expired - self._late) & set(paid))
        verdict.invented += len(host.said_paid - set(paid))
        await self._judge_payments(verdict, ledger["payments"])
        if not verdict.sound:
            verdict.bad_seeds.append(self._schedule.seed)
            verdict.notes.append(f"seed {self._schedule.seed}: {verdict.failings}; health {host.clients[0].health}")
        return verdict

    async def _judge_payments(self, verdict: Verdict, rows: list[dict[str, Any]]) -> None:
        made = {row["payment_hash"] for row in rows if row["status"] == "SUCCESS"}
        left = {row["payment_hash"] for row in rows if row["times_executed"]}
        verdict.payments = len(rows)
        verdict.double_payments = sum(row["times_executed"] > 1 for row in rows)
        verdict.invented += len(self._host.told_paid - made)
        for payment in await self._host.clients[0].list_payments(ListPaymentsParams(include_pending=True)):
            # What the journal has to say in the end: never "failed" of money that left.
            verdict.invented += payment.status.name == "COMPLETE" and payment.payment_hash not in made
            if payment.status.name == "FAILED" and payment.payment_hash in left:
                verdict.double_payments += 1
                verdict.notes.append(f"called failed, and the money left: {payment.payment_hash}")
            verdict.unknown += payment.status.name in ("UNKNOWN", "PENDING")


def _true(invoice: LightningInvoice, paid: dict[str, int]) -> bool:
    """Whether a delivered invoice was paid, over that amount; an amountless one over about that, if it is known."""
    received, known = invoice.amount_received, paid.get(invoice.id)
    if invoice.paid_at is None or known is None:
        return False
    if invoice.amount is None:
        return received is None or abs(received.msat - known) <= known // 50
    return received is not None and known == received.msat


def _name(kind: str, details: Any) -> str:
    if kind == "payment":
        gone = " (money left)" if details.get("executed") else ""
        return f"payment: {details['outcome']}{gone}"
    return f"server: {kind}"


async def _later(seconds: float, act: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    act()


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def play(schedule: Schedule, settle_on: SettleOn = "query") -> Verdict:
    """Play one schedule from an empty world to the verdict."""
    return await World(schedule, settle_on).play()
