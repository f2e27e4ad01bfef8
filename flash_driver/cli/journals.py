"""`flash-driver journal`: how much the driver remembers, whether it is sound; exported, pruned and copied."""

import asyncio
import csv
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flash_driver.cli.failures import BadUsage, CommandFailed, Exit
from flash_driver.cli.options import AsJson, Verbose
from flash_driver.cli.output import Output
from flash_driver.cli.source import tell_misspelt_variables
from flash_driver.cli.values import shown_time

if TYPE_CHECKING:
    from flash_driver.journal.sql.store import SqlStore
    from flash_driver.journal.urls import JournalUrl

__all__ = [
    "app",
    "backup",
    "check",
    "copy",
    "export",
    "prune",
    "rename_server",
    "show",
    "where_invoices_are_known",
    "where_payments_are_known",
]

_KINDS = ("invoices", "payments")
_PATIENCE_SECONDS = 60.0
_LEAST_DAYS = 3
"""The driver looks back for two days after an absence."""

app = typer.Typer(no_args_is_help=True)


@app.command("show")
def show(*, as_json: AsJson = False, verbose: Verbose = False) -> int:
    """Show how large the journal is, what it keeps of each account, and what was learned of the server."""
    from flash_driver.cli.learned import learned_json, shown_learned  # noqa: PLC0415 - as below
    from flash_driver.journal.sql import upkeep  # noqa: PLC0415 - other commands load no database library

    output = Output(as_json=as_json, verbose=verbose)

    async def work(store: "SqlStore") -> Exit:
        size, accounts = await store.transactions.read(lambda c: (upkeep.size_bytes(c), upkeep.summaries(c)))
        if as_json:
            listed = [
                {
                    **asdict(each),
                    "oldest": each.oldest and each.oldest.isoformat(),
                    "learned": [learned_json(learned) for learned in each.learned],
                }
                for each in accounts
            ]
            output.document({"bytes": size, "accounts": listed})
            return Exit.OK
        output.text(f"{_journal_url()}: {size / 1e6:.1f} MB")
        for each in accounts:
            output.text(f"{each.server}  account {each.account_id}")
            oldest = "" if each.oldest is None else f", the oldest of {shown_time(each.oldest)}"
            output.text(f"  {each.invoices} invoices ({each.settled} settled, {each.orphans} orphans){oldest}")
            output.text(f"  {each.payments} attempts to pay")
            for learned in each.learned:
                for line in shown_learned(learned, datetime.now(UTC)):
                    output.text(f"  {line}")
        return Exit.OK

    return _run(work, output)


@app.command("check")
def check(*, as_json: AsJson = False, verbose: Verbose = False) -> int:
    """Read every row, and name those that are damaged (exit status 1)."""
    from flash_driver.journal.sql import upkeep  # noqa: PLC0415 - other commands load no database library

    output = Output(as_json=as_json, verbose=verbose)

    async def work(store: "SqlStore") -> Exit:
        found: dict[str, list[int]] = {}
        for kind in _KINDS:
            place: int | None = 0
            while place is not None:
                numbers, place = await store.transactions.read(_bound(upkeep.damaged, kind, place))
                found.setdefault(kind, []).extend(numbers)
        count = sum(len(numbers) for numbers in found.values())
        if as_json:
            output.document({"damaged": found})
        else:
            for kind, numbers in found.items():
                for number in numbers:
                    output.text(f"{kind}: row {number} can't be read", style="red")
            output.text("every row can be read" if not count else f"{count} rows are damaged: put back a backup")
        return Exit.OK if not count else Exit.FAILURE

    return _run(work, output)


@app.command("export")
def export(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="invoices or payments.")],
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV; by default one JSON document a line.")] = False,
) -> int:
    """Write every row to standard output."""
    if kind not in _KINDS:
        raise BadUsage("KIND must be invoices or payments")

    async def work(store: "SqlStore") -> Exit:
        writer: Any = None
        async for row in _rows(store, kind):
            if not as_csv:
                sys.stdout.write(json.dumps(row) + "\n")
                continue
            if writer is None:
                writer = csv.DictWriter(sys.stdout, fieldnames=list(row))
                writer.writeheader()
            writer.writerow(row)
        return Exit.OK

    return _run(work, Output())


@app.command("prune")
def prune(
    days: Annotated[
        int, typer.Argument(metavar="DAYS", min=_LEAST_DAYS, help="How many days to keep what was never paid.")
    ],
    *,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Delete invoices that were never paid, orphans too; what was settled and every payment stay."""
    from flash_driver.journal.sql import upkeep  # noqa: PLC0415 - other commands load no database library

    output = Output(as_json=as_json, verbose=verbose)

    async def work(store: "SqlStore") -> Exit:
        before, deleted = datetime.now(UTC) - timedelta(days=days), 0
        while count := await store.transactions.write(lambda connection: upkeep.prune(connection, before)):
            deleted += count
        if as_json:
            output.document({"deleted": deleted})
        else:
            output.text(f"{deleted} invoices that were never paid are deleted")
        return Exit.OK

    return _run(work, output)


@app.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make.")], *, as_json: AsJson = False
) -> int:
    """Copy a journal in a file while it is in use; use pg_dump for PostgreSQL."""
    from flash_driver.journal.sql import upkeep  # noqa: PLC0415 - other commands load no database library

    output = Output(as_json=as_json)
    tell_misspelt_variables(output)
    path = _journal_url().path
    if path is None:
        raise BadUsage(
            "FLASH_JOURNAL_URL names no file; a journal in PostgreSQL is copied by "
            f"pg_dump --format=custom --file={target}, followed by the database"
        )
    if not path.is_file():
        raise BadUsage(f"{path} is not there: FLASH_JOURNAL_URL must name the file of a journal")
    try:
        upkeep.back_up(path, target)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BadUsage(f"{target} can't be made ({reason})") from None
    except sqlite3.Error as error:
        raise CommandFailed("not-copied", f"{path} can't be copied: {error}") from None
    if as_json:
        output.document({"backup": str(target)})
    else:
        output.text(f"{path} is copied to {target}")
    return Exit.OK


@app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The journal's URL, or the variable that holds it.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same of a file or database with no journal yet.")],
    *,
    as_json: AsJson = False,
) -> int:
    """Move a journal to another database, such as from SQLite to PostgreSQL; stop what uses it before."""
    output = Output(as_json=as_json)
    before, after = _named("FROM", source), _named("TO", target)
    if before == after:
        raise BadUsage("FROM and TO name the same journal")

    from flash_driver.journal.sql.copying import copy_journal  # noqa: PLC0415 - other commands load no database library

    rows = copy_journal(before, after)
    if as_json:
        output.document({"from": str(before), "to": str(after), "rows": rows})
        return Exit.OK
    for table, count in rows.items():
        output.text(f"{table}: {count} rows")
    output.text(f"{after} holds all that {before} held; every row was compared, and cursors stay valid")
    output.text("set FLASH_JOURNAL_URL to it in every process; the old journal is not used any more")
    return Exit.OK


@app.command("rename-server")
def rename_server(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Its old name, as `flash-driver journal show` has it.")],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="Its new name: host, port unless it is the usual one, and path.")
    ],
    *,
    as_json: AsJson = False,
) -> int:
    """Let the accounts of a server be those of its new name; stop what uses the journal before."""
    output = Output(as_json=as_json)

    async def work(store: "SqlStore") -> Exit:
        count = await store.rename_server(old, new)
        if not count:
            raise CommandFailed(
                "unknown-server", "the journal has no account of that server; see flash-driver journal show"
            )
        if as_json:
            output.document({"renamed": count})
        else:
            output.text(f"{count} accounts belong to {new} now")
        return Exit.OK

    return _run(work, output)


def where_invoices_are_known() -> str:
    """Say which invoices can be looked up here, and what to do about others; shows no password."""
    journal = _journal_url()
    if journal.forgets:
        return "FLASH_JOURNAL_URL is memory:, which forgets with each command; name a file or database there"
    return f"{journal} knows what was made with it; if that was another one, set FLASH_JOURNAL_URL to it"


def where_payments_are_known() -> str:
    """Say the same about payments, where not knowing must not be taken for not having paid."""
    journal = _journal_url()
    why = f"{journal} knows what was paid with it; if that was another one, set FLASH_JOURNAL_URL to it"
    if journal.forgets:
        why = "FLASH_JOURNAL_URL is memory:, which forgets with each command"
    return f"that is no proof that nothing was paid: look into the Flash app before paying again ({why})"


def _named(argument: str, given: str) -> "JournalUrl":
    """Read a journal's URL, or the environment variable of that name: an argument is seen in the list of processes.

    Raises:
        BadUsage: It is none, or is a journal in memory.

    """
    from flash_driver.journal.urls import JournalUrl  # noqa: PLC0415 - needed to copy a journal only

    try:
        url = JournalUrl.parse(os.environ.get(given, given) or "(empty)")
    except ValueError as error:
        raise BadUsage(f"{argument} {error}, or the name of an environment variable that holds it") from None
    if url.forgets:
        raise BadUsage(f"{argument} is memory:, which forgets with each command; name a file or database")
    return url


def _run(work: "Callable[[SqlStore], Awaitable[Exit]]", output: Output) -> Exit:
    tell_misspelt_variables(output)
    url = _journal_url()
    if url.forgets:
        raise BadUsage("FLASH_JOURNAL_URL is memory:, which forgets with each command; name a file or database there")

    from flash_driver.journal.sql.store import SqlStore  # noqa: PLC0415 - as above

    async def run() -> Exit:
        async with aclosing(SqlStore(url, _PATIENCE_SECONDS)) as store:
            await store.find("", None)
            return await work(store)

    return asyncio.run(run())


def _journal_url() -> "JournalUrl":
    from flash_driver.settings.process import ProcessSettings  # noqa: PLC0415 - no command's help needs pydantic

    return ProcessSettings.from_environment().journal_url


def _bound(function: Any, *arguments: Any) -> Callable[[Any], Any]:
    return lambda connection: function(connection, *arguments)


async def _rows(store: "SqlStore", kind: str) -> AsyncIterator[dict[str, Any]]:
    from flash_driver.journal.sql import upkeep  # noqa: PLC0415 - other commands load no database library

    place = 0
    while rows := await store.transactions.read(_bound(upkeep.page, kind, place)):
        place = rows[-1]["id"]
        for row in rows:
            server, _, account_id = str(row.pop("scope")).rpartition(" ")
            row["server"], row["account"] = server or "unknown", account_id
            yield {key: _plain(value) for key, value in row.items()}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Decimal) else value
