"""`flash-driver doctor`: the table."""

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from flash_driver.cli.failures import Exit
from flash_driver.cli.logs import log_to
from flash_driver.cli.options import AsJson, File, Verbose
from flash_driver.cli.output import Output, printable
from flash_driver.cli.source import connection_text
from flash_driver.common.masking import mask_tokens
from flash_driver.doctor.findings import Check, Examination, Result
from flash_driver.transports.call_log import shown

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["doctor"]

_STYLES = {Result.PASS: "green", Result.FAIL: "red", Result.SKIPPED: "dim"}


def doctor(
    string: Annotated[
        str | None,
        typer.Argument(
            metavar="STRING",
            help="The connection string; better in FLASH_CONNECTION_STRING or --file, where no other user can read it.",
            show_default=False,
        ),
    ] = None,
    *,
    seconds: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For each check.", min=0.1)] = 5.0,
    as_json: AsJson = False,
    verbose: Verbose = False,
    file: File = None,
) -> int:
    """Show what works with a server and token, and what to do about the rest. Creates nothing, pays nothing."""
    from flash_driver.doctor.examination import examine  # noqa: PLC0415 - loads every way to the server

    output = Output(as_json=as_json, verbose=verbose)
    text = connection_text(string, file, output)
    waiting = output.errors.status("examining") if output.errors.is_terminal else nullcontext()
    with log_to(output), waiting as status:
        examination = Examination(seconds) if status is None else Examination(seconds, status.update)
        asyncio.run(examine(examination, text))
    if as_json:
        output.document(
            {
                "ok": examination.usable,
                "create_invoices": examination.creates,
                "hear_settlements": examination.hears,
                "advice": examination.way_out or None,
                "checks": [check.as_json for check in examination.checks],
            }
        )
    else:
        output.console.print(_table(examination.checks))
        _conclude(output, examination)
    return Exit.OK if examination.usable else Exit.FAILURE


def _table(checks: list[Check]) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - no other command shows one
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    table.add_column("check")
    table.add_column("result")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what was found", overflow="fold", ratio=1)
    for check in checks:
        found = Text(_shown(f"{check.target}: {check.found}" if check.target else check.found))
        if check.advice:
            found.append(f"\n> {_shown(check.advice)}", style="yellow")
        time = "" if check.result is Result.SKIPPED else f"{check.seconds * 1000:,.0f} ms"
        table.add_row(check.name, Text(check.result.value, style=_STYLES[check.result]), time, found)
    return table


def _conclude(output: Output, examination: Examination) -> None:
    ways = ", then ".join(shown(name) for name in examination.creates)
    output.text()
    if ways:
        output.paragraph(f"Invoices can be created: over {ways}.", style="green")
    else:
        output.paragraph(f"Invoices can't be created. {examination.way_out}".rstrip(), style="red")
    if examination.hears:
        output.paragraph(f"Settlements are heard of: by {', else by '.join(examination.hears)}.", style="green")
    else:
        output.paragraph("Settlements can't be heard of.", style="red")


def _shown(text: str) -> str:
    return printable(mask_tokens(text))
