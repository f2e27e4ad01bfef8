"""Every value of every answer and event, replaced by what a server must not send, met by every public method."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningError, PayInvoiceParams
from flash_driver.client import FlashLightningClient
from flash_driver.sandbox import Sandbox
from tests.support.altering import Altered, Altering, altering, leaves, replaced
from tests.support.answers import WRONG
from tests.support.timing import SHORT

if TYPE_CHECKING:
    from tests.support.altering import Path
    from tests.support.driver import Bench

COFFEE: Final = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")
TIP: Final = CreateInvoiceParams(LightMoney.from_sat(0), "tip")
SOON: Final = timedelta(seconds=0.3)


async def create(client: FlashLightningClient, _: Sandbox, __: Altered) -> None:
    """Create an invoice over an amount."""
    await client.create_invoice(COFFEE)


async def create_amountless(client: FlashLightningClient, _: Sandbox, __: Altered) -> None:
    """Create an invoice without an amount."""
    await client.create_invoice(TIP)


async def create_many(client: FlashLightningClient, _: Sandbox, __: Altered) -> None:
    """Create invoices side by side."""
    await client.create_invoices([COFFEE, COFFEE])


async def look_up(client: FlashLightningClient, _: Sandbox, between: Altered) -> None:
    """Look an invoice up that was made while the server was honest."""
    with between.honest():
        invoice = await client.create_invoice(COFFEE)
    await client.get_invoice(invoice.id)


async def listen(client: FlashLightningClient, sandbox: Sandbox, between: Altered) -> None:
    """Listen while an invoice with and one without an amount are paid, until something altered has come."""
    async with await client.listen() as listener:
        with between.honest():
            invoices = [await client.create_invoice(COFFEE)]
            with suppress(LightningError):
                invoices.append(await client.create_invoice(TIP))
        for invoice in invoices:
            sandbox.pay(invoice.bolt11)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                for _ in invoices:
                    await listener.wait_invoice()


async def pay(client: FlashLightningClient, sandbox: Sandbox, _: Altered) -> None:
    """Pay an invoice, with a limit of fees, and ask how it ended."""
    foreign = sandbox.foreign_invoice(50_000)
    params = PayInvoiceParams(send_timeout=SOON, max_fee_percent=50)
    await client.pay(foreign.payment_request, params)
    await client.get_payment(foreign.payment_hash)


async def pay_amountless(client: FlashLightningClient, sandbox: Sandbox, _: Altered) -> None:
    """Pay an amountless invoice, with a limit of fees."""
    params = PayInvoiceParams(LightMoney.from_sat(50), 50, send_timeout=SOON)
    await client.pay(sandbox.foreign_invoice(None).payment_request, params)


Call = Callable[[FlashLightningClient, Sandbox, Altered], Awaitable[object]]
METHODS: Final[dict[str, Call]] = {
    "create_invoice": create,
    "create_invoice, amountless": create_amountless,
    "create_invoices": create_many,
    "get_invoice": look_up,
    "listen": listen,
    "pay": pay,
    "pay, amountless": pay_amountless,
    "get_balance": lambda client, _, __: client.get_balance(),
    "get_info": lambda client, _, __: client.get_info(),
    "validate": lambda client, _, __: client.validate(),
    "warm_up": lambda client, _, __: client.warm_up(),
}


@pytest.mark.timeout(400)
@pytest.mark.many_cases
@pytest.mark.parametrize("kind", [("accept", "accept"), ("decline", "reject")], ids="-".join)
async def test_only_errors_of_the_contract_leave(
    bench: Bench, kind: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands in the place of any value, a method returns or raises a LightningError; no task dies of it."""
    died: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: died.append(context))
    sandbox = await bench.sandbox(ws_mutations=kind[0], http_bearer=kind[1], price_tick_seconds=0.5)
    chance = random.Random(str(kind))  # noqa: S311 - the same cases each time, nothing secret
    found: list[str] = []
    async with altering(sandbox) as between:
        places = await all_places(bench, sandbox, between)
        assert len(places) > 50

        async def meet(method: str, name: str, path: Path, text: str) -> None:
            wrong = await outcome(bench, METHODS[method], sandbox, between, (name, path, text))
            if wrong is not None:
                found.append(f"{method}: {name} {path} {text[:40]}: {wrong!r}")

        # All at once: most of the time is waiting for a server that never says what it should.
        async with asyncio.TaskGroup() as tasks:
            for (name, path), methods in places.items():
                tasks.create_task(meet(chance.choice(methods), name, path, chance.choice(WRONG)))
    assert found == []
    assert died == []
    faults = ("reading a message broke", "could not be taken in", "Traceback")
    assert [line for line in caplog.messages if any(fault in line for fault in faults)] == []


async def all_places(bench: Bench, sandbox: Sandbox, between: Altering) -> dict[tuple[str, Path], list[str]]:
    """Return every place of a value in every answer, and the methods that ask for it."""
    places: dict[tuple[str, Path], list[str]] = {}
    for method, call in METHODS.items():
        seen = between.client()
        client = await bench.client(seen.connection_string, timing=SHORT)
        with suppress(LightningError):
            await call(client, sandbox, seen)
        for name, answer in seen.seen.items():
            for path in leaves(answer):
                places.setdefault((name, path), []).append(method)
        await client.aclose()
    return places


async def outcome(
    bench: Bench, call: Call, sandbox: Sandbox, between: Altering, place: tuple[str, Path, str]
) -> BaseException | None:
    """Call a method with one value of one answer altered; returns what left it, if that is no LightningError."""
    name, path, text = place
    altered = between.client()
    altered.alter = lambda asked, answer: replaced(answer, path, text) if asked == name else None
    client = await bench.client(altered.connection_string, timing=SHORT)
    try:
        await call(client, sandbox, altered)
    except LightningError:
        pass
    except Exception as error:  # noqa: BLE001 - what the test is about
        return error
    finally:
        await client.aclose()
    return None
