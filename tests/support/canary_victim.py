"""A process that runs into every failure there is, and shows all it can of each; the parent looks for secrets in it.

Run with `python -X dev -m tests.support.canary_victim`, and one line of JSON on standard input: `strings`, the
connection strings to use, and `paid`, a BOLT11 to pay.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from rich.console import Console

from connection_strings import CreateInvoiceParams, LightMoney, LightningClientFactory, PayInvoiceParams
from flash_driver.cli import main

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from connection_strings import LightningClient

_COFFEE: Final = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")
_CALL_SECONDS: Final = 6.0
_by_rich: Final[set[type[BaseException]]] = set()
"""What was shown by structlog, which has rich print each frame with its variables."""

_console: Final = Console(width=400, force_terminal=False)


def show(error: BaseException) -> None:
    """Show an error in every way in which programs do, with the values of the variables."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    _console.print("".join(told.format()), markup=False, soft_wrap=True)
    if type(error) not in _by_rich:  # which takes about a second for each
        _by_rich.add(type(error))
        structlog.get_logger().error("failed", exc_info=error, error=error)
    logging.getLogger("victim").error("%r", error, exc_info=error)


async def attempt(name: str, call: Callable[[], Awaitable[object]]) -> None:
    """Make a call and show what became of it."""
    try:
        async with asyncio.timeout(_CALL_SECONDS):
            _console.print(name, repr(await call()), markup=False, soft_wrap=True)
    except Exception as error:  # noqa: BLE001 - each is shown
        show(error)


async def listen(client: LightningClient) -> None:
    """Listen for a moment."""
    async with await client.listen() as listener, asyncio.timeout(1):
        await listener.wait_invoice()


async def use(string: str, bolt11: str) -> None:
    """Call every method of a client of this string."""
    client = LightningClientFactory().create(string)
    _console.print(repr(client), str(client), repr(vars(client)), markup=False, soft_wrap=True)
    pay = PayInvoiceParams(send_timeout=timedelta(seconds=1), max_fee_percent=50)
    async with client:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "validate": client.validate,
            "create": lambda: client.create_invoice(_COFFEE),
            "amountless": lambda: client.create_invoice(LightMoney.from_sat(0)),
            "balance": client.get_balance,
            "info": client.get_info,
            "pay": lambda: client.pay(bolt11, pay),
            "get": lambda: client.get_invoice("ab" * 32),
            "listen": lambda: listen(client),
        }
        await asyncio.gather(*(attempt(name, call) for name, call in calls.items()))


def command(*arguments: str) -> None:
    """Run a command of the command line."""
    try:
        status = main(list(arguments))
    except BaseException as error:  # noqa: BLE001 - each is shown
        show(error)
    else:
        _console.print("status", status)


async def _use_all(strings: list[str], bolt11: str) -> None:
    await asyncio.gather(*(use(string, bolt11) for string in strings))


def _main() -> None:
    order = json.loads(sys.stdin.readline())
    logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s %(args)s", stream=sys.stdout)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    asyncio.run(_use_all(order["strings"], order["bolt11"]), debug=True)
    commands = (["balance"], ["invoice", "create", "1000"], ["doctor"], ["pay", order["bolt11"], "--yes"], ["oops"])
    for string in order["commands"]:
        for words in commands:
            for more in (["--json"], ["--verbose"]):
                command(*words, *more, "--connection", string)
    for string in order["strings"][:1]:
        command("balance", string)
        command(string)
        command("balance", "--connection", f"{string};tokn=x")
        command("balance", "--connection", string.replace("flash", "flush"))
        command("balance", "--connection", string.replace(";", ";;;token=;"))
        command("balance", "--connection", f"{string};{string}")


if __name__ == "__main__":
    _main()
