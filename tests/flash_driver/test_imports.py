"""What is loaded when: a process pays for the libraries that it uses, once it uses them. Counted, never timed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from flash_driver.sandbox import Sandbox, SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
OF_THE_WAYS = {"aiohttp", "gql", "graphql", "httpx"}
"""Libraries of the two ways over HTTP, of which a process may need one, or none."""
OF_POSTGRESQL = {"asyncpg", "psycopg", "sqlalchemy.dialects.postgresql", "sqlalchemy.ext.asyncio", "sqlalchemy.orm"}
OF_THE_COMMANDS = {"rich", "segno", "structlog", "typer"}
OF_THE_TEXT = {"pygments", "rich", "segno", "structlog"}
"""Libraries that show text, QR codes and logs to a person."""
OF_THE_SETTINGS = {"pydantic", "pydantic_settings"}
IN_USE = {"sqlalchemy", "websockets"}

CREATE = """
import asyncio, os
from datetime import timedelta
from connection_strings import LightMoney, LightningClientFactory

async def create():
    async with LightningClientFactory().create(os.environ["FLASH_CONNECTION_STRING"]) as client:
        await client.create_invoice(LightMoney.from_sat(1000), "coffee", timedelta(minutes=1))

asyncio.run(create())
"""


async def modules_of(program: str, **environment: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded at the end of a program."""
    report = "import json, sys; print(); print(json.dumps([*sys.modules]))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{program}\n{report}"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**_plain(os.environ), **environment},
    )
    written, _ = await process.communicate()
    assert process.returncode == 0
    return set(json.loads(written.decode().splitlines()[-1]))


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what would start the measuring of coverage, or choose another journal."""
    return {name: value for name, value in environment.items() if not name.startswith(("COV_", "COVERAGE_", "FLASH_"))}


async def test_importing_the_client_loads_no_library_of_a_way() -> None:
    """A host that imports the driver loads neither HTTP, nor gql, nor a database, nor what checks settings."""
    loaded = await modules_of("import flash_driver.client")
    assert loaded & (OF_THE_WAYS | OF_POSTGRESQL | OF_THE_COMMANDS | OF_THE_SETTINGS | IN_USE) == set()


async def test_help_loads_what_reads_arguments() -> None:
    """`flash-driver --help` loads neither a command, nor anything that commands work with, nor asyncio."""
    loaded = await modules_of("from flash_driver.cli import main; main(['--help'])")
    assert loaded & (OF_THE_WAYS | OF_POSTGRESQL | OF_THE_SETTINGS | OF_THE_TEXT | IN_USE | {"asyncio"}) == set()
    ours = {name for name in loaded if name.startswith("flash_driver.")} - {"flash_driver.cli", "flash_driver._version"}
    assert {name.removeprefix("flash_driver.") for name in ours if "common" not in name} == {
        "cli.app",
        "cli.failures",
        "cli.output",
        "cli.usage",
    }


@pytest.mark.timeout(300)
async def test_a_command_that_writes_json_loads_nothing_that_shows_text(tmp_path: Path) -> None:
    """An invoice from the command line takes its own command, the socket and the journal."""
    command = "from flash_driver.cli import main; main(['invoice', 'create', '1000', '--json'])"
    async with Sandbox(SandboxOptions(ws_mutations="accept")) as sandbox:
        loaded = await modules_of(
            command,
            FLASH_CONNECTION_STRING=sandbox.connection_string,
            FLASH_JOURNAL_URL=f"sqlite+aiosqlite:///{tmp_path / 'journal.sqlite3'}",
        )
    assert loaded >= IN_USE | {"flash_driver.cli.invoices"}
    assert loaded & (OF_THE_WAYS | OF_POSTGRESQL | OF_THE_TEXT | {"flash_driver.cli.doctor"}) == set()


@pytest.mark.timeout(300)
async def test_a_short_command_does_not_search_for_garbage(tmp_path: Path) -> None:
    """What an invoice from the command line loads stays in use, so Python's collector never runs, nor at the end."""
    program = """
import gc, sys
searches = []
gc.callbacks.append(lambda phase, info: searches.append(phase))
from flash_driver.cli import main
sys.argv[1:] = ["invoice", "create", "1000", "--json"]
begun = len(searches)
status = main()
assert (status, len(searches) - begun) == (0, 0)
assert gc.get_freeze_count() > len(gc.get_objects())
"""
    async with Sandbox(SandboxOptions(ws_mutations="accept")) as sandbox:
        await modules_of(
            program,
            FLASH_CONNECTION_STRING=sandbox.connection_string,
            FLASH_JOURNAL_URL=f"sqlite+aiosqlite:///{tmp_path / 'journal.sqlite3'}",
        )


@pytest.mark.timeout(300)
async def test_an_invoice_by_the_socket_loads_no_other_way(tmp_path: Path) -> None:
    """Where the socket executes and the journal is a file, neither HTTP, nor gql, nor PostgreSQL is loaded at all."""
    async with Sandbox(SandboxOptions(ws_mutations="accept")) as sandbox:
        loaded = await modules_of(
            CREATE,
            FLASH_CONNECTION_STRING=sandbox.connection_string,
            FLASH_JOURNAL_URL=f"sqlite+aiosqlite:///{tmp_path / 'journal.sqlite3'}",
        )
    assert loaded >= IN_USE
    assert loaded & (OF_THE_WAYS | OF_POSTGRESQL | OF_THE_COMMANDS) == set()


@pytest.mark.timeout(300)
async def test_commands_on_a_journal_in_a_file_need_nothing_of_postgresql(tmp_path: Path) -> None:
    """`flash-driver doctor`, and all of `flash-driver journal`, work where the extra `postgresql` is not installed."""
    journal, copied = (f"sqlite+aiosqlite:///{tmp_path / name}" for name in ("journal.sqlite3", "copied.sqlite3"))
    commands = [
        ["invoice", "create", "1000", "--json"],
        ["doctor", "--json"],
        ["journal", "show", "--json"],
        ["journal", "check", "--json"],
        ["journal", "prune", "30", "--json"],
        ["journal", "export", "invoices"],
        ["journal", "backup", str(tmp_path / "backup.sqlite3"), "--json"],
        ["journal", "copy", journal, copied, "--json"],
    ]
    program = f"""
        import sys
        sys.modules["psycopg"] = sys.modules["certifi"] = None  # as where the extra is not installed
        from flash_driver.cli import main
        for command in {commands!r}:
            assert main(command) == 0, command
    """
    async with Sandbox(SandboxOptions(ws_mutations="accept")) as sandbox:
        loaded = await modules_of(
            dedent(program), FLASH_CONNECTION_STRING=sandbox.connection_string, FLASH_JOURNAL_URL=journal
        )
    assert "flash_driver.journal.sql.postgresql" not in loaded
