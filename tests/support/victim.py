"""A driver in a process of its own that can be made to die, by kill -9, at any step of what it does.

Run as a module it reads one order per line, in JSON, and carries each out in a fork of its own: forks of a process that
has loaded everything start in milliseconds. What the host in it gets is written to standard output, a line at a time.

A step is: before and after each request to the server, before and after each use of the journal, before each statement
and before each commit of a transaction that writes, and after something was handed to the host.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
import sys
import traceback
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine, event

from connection_strings import ConnectionString, LightMoney, PayInvoiceParams
from flash_driver.accounts.pool import Pool
from flash_driver.accounts.timing import Timing
from flash_driver.client import FlashLightningClient
from flash_driver.journal.attempt_rules import Begun
from flash_driver.journal.budget_rules import Bucket, InvoiceBudget
from flash_driver.journal.sql.copying import copy_journal
from flash_driver.journal.sql.journal import SqlJournal
from flash_driver.journal.sql.transactions import WRITES
from flash_driver.journal.urls import JournalUrl
from flash_driver.payments.attempt import Persistence
from flash_driver.settings.account import FlashSettings
from flash_driver.settings.process import ProcessSettings
from flash_driver.transports.router import Router
from tests.support.journals import a_payment, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["main"]

LOADED_WHEN_USED: Final = (
    "flash_driver.journal.sql.notify",
    "flash_driver.journal.sql.store",
    "flash_driver.transports.websocket.socket",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
)
"""What an order would load otherwise, each in its own fork: a third of the time that a fork computes."""

USES: Final = (
    "add_invoice",
    "add_orphan",
    "begin_payment",
    "expire_invoice",
    "find_invoice",
    "find_payment",
    "settle_invoice",
    "settled_after",
    "spend_invoices",
    "update_payment",
)


class Fate:
    """Counts the steps and kills or stops the process at one of them: of this number, or the first of a name."""

    def __init__(self, die_at: int | str | None, stop_at: str | None = None) -> None:
        self._die_at = die_at
        self._stop_at = stop_at
        self._steps = 0
        self._armed = False

    def arm(self) -> None:
        """Begin to count: what comes before is the same each time."""
        self._armed = True

    def step(self, name: str) -> None:
        """Die here, if this is the step."""
        self._steps += self._armed
        if self._armed and name == self._stop_at:
            self._stop_at = None
            tell("stops", pid=os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)
        if self._armed and self._die_at in (self._steps, name):
            tell("dies", step=name)
            os.kill(os.getpid(), signal.SIGKILL)


def tell(kind: str, **facts: Any) -> None:
    """Write one line in one piece: a host's own commit of what it was given."""
    os.write(1, json.dumps({"event": kind, **facts}).encode() + b"\n")


def surround(owner: type, name: str, fate: Fate) -> None:
    """Make steps of the beginning and the end of a method."""
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @functools.wraps(original)
    async def stepped(*arguments: Any, **options: Any) -> Any:
        fate.step(f"before {name}")
        result = await original(*arguments, **options)
        fate.step(f"after {name}")
        return result

    setattr(owner, name, stepped)


def lay_mines(fate: Fate) -> None:
    """Make steps of everything on the way of an invoice or a payment."""
    for name in USES:
        surround(SqlJournal, name, fate)
    surround(Router, "perform", fate)

    @event.listens_for(Engine, "before_cursor_execute")
    def statement(connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if connection.get_execution_options().get(WRITES):
            fate.step(f"before {sql.split(maxsplit=2)[:2]}")

    @event.listens_for(Engine, "commit")
    def commit(connection: Any) -> None:
        if connection.get_execution_options().get(WRITES):
            fate.step("before COMMIT")


async def create(client: FlashLightningClient, fate: Fate, order: dict[str, Any]) -> None:
    """Create invoices, one after the other."""
    await client.list_invoices()
    fate.arm()
    for _ in range(order.get("count", 1)):
        invoice = await client.create_invoice(LightMoney.from_sat(1000), "coffee")
        tell("handed out", id=invoice.id, bolt11=invoice.bolt11)
        fate.step("after handing out")


async def listen(client: FlashLightningClient, fate: Fate, order: dict[str, Any]) -> None:
    """Listen until as many settlements were heard as the order says."""
    async with await client.listen(after=order["after"]) as listener:
        tell("listening", cursor=listener.cursor, pid=os.getpid())
        fate.arm()
        for _ in range(order["count"]):
            paid = await listener.wait_invoice()
            tell(
                "heard",
                id=paid.id,
                cursor=listener.cursor,
                msat=paid.amount_received.msat if paid.amount_received else 0,
            )
            fate.step("after hearing")


async def pay(client: FlashLightningClient, fate: Fate, order: dict[str, Any]) -> None:
    """Pay a BOLT11."""
    await client.list_invoices()
    fate.arm()
    amount = order.get("msat")
    terms = PayInvoiceParams(
        amount=None if amount is None else LightMoney.from_msat(amount), send_timeout=timedelta(seconds=10)
    )
    answer = await client.pay(order["bolt11"], terms)
    tell("paid", result=answer.result.value)
    fate.step("after paying")
    found = await client.get_payment(order["payment_hash"])
    tell("known", status=None if found is None else found.status.value)


async def contend(client: FlashLightningClient, _fate: Fate, order: dict[str, Any]) -> None:
    """Do what other processes do at the same moment: settle the same invoices, begin the same payments, spend."""
    await client.list_invoices()
    journal, now = client._account().journal, datetime.now(UTC)
    for number in random.sample(range(order["count"]), order["count"]):
        settled = await settle(journal, number, paid_at=now)
        mine = a_payment(number, created_at=now)
        begun = isinstance(await journal.begin_payment(mine), Begun)
        spent = await journal.spend_invoices(Bucket.OWN, InvoiceBudget(order["budget"], 600), now) is None
        index = None if settled is None else settled.settle_index
        tell("contended", number=number, index=index, begun=begun, spent=spent)


async def copy(order: dict[str, Any]) -> None:
    """Move a journal; every commit is a step, whichever of the two databases it is of."""
    fate = Fate(order.get("die_at"))
    fate.arm()
    event.listen(Engine, "commit", lambda _: fate.step("before COMMIT"))
    rows = await asyncio.to_thread(copy_journal, JournalUrl.parse(order["journal"]), JournalUrl.parse(order["target"]))
    tell("copied", rows=rows)


FLOWS: Final = {"contend": contend, "create": create, "listen": listen, "pay": pay}


async def carry_out(order: dict[str, Any]) -> None:
    """Carry an order out with a client of its own."""
    fate = Fate(order.get("die_at"), order.get("stop_at"))
    lay_mines(fate)
    # A process that starts again an instant after a crash need not wait until the dead sender is surely dead.
    timing = Timing(payments=Persistence(margin=-3600.0))
    settings = FlashSettings.from_connection_string(ConnectionString.parse(order["string"]))
    process = ProcessSettings.model_validate({"journal_url": order["journal"], "invoice_budget": "1000/120"})
    async with FlashLightningClient(settings, process, Pool(timing)) as client:
        await FLOWS[order["flow"]](client, fate, order)


def main() -> None:
    """Carry out the orders that come in, each in a fork."""
    for name in LOADED_WHEN_USED:
        import_module(name)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            try:
                order = json.loads(line)
                asyncio.run(copy(order) if order["flow"] == "copy" else carry_out(order))
            except BaseException:  # noqa: BLE001 - a fork must not go on as its parent would
                tell("failed", why=traceback.format_exc())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        tell("ended", signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None)
    # Nothing is open here, and taking everything loaded apart again takes longer than most orders.
    os._exit(0)


if __name__ == "__main__":
    main()
