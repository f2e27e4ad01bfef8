"""The commands as a user runs them: processes of their own, with pipes and signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.cli.commands import CANARY

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from tests.flash_driver.conftest import StartSandbox

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def running(*arguments: str, **environment: str) -> AsyncIterator[Process]:
    """Start a command; when the block ends, so does the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "flash_driver.cli",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    try:
        async with asyncio.timeout(40):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(*arguments: str, stdin: str = "", **environment: str) -> tuple[int | None, str, str]:
    """Run a command to its end; return its status and what it said."""
    async with running(*arguments, **environment) as process:
        out, err = await process.communicate(stdin.encode())
        return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_sandbox_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """The ready line is all that it writes; a real client works against it; a signal ends it with status 0."""
    async with running("sandbox", "--port", "0", "--json") as process:
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        made = await ended("invoice", "create", "1000", "--json", FLASH_CONNECTION_STRING=ready["connection_string"])
        assert made[0] == 0
        assert json.loads(made[1])["bolt11"].startswith("lnbcrt")
        process.send_signal(number)
        rest, err = await process.communicate()
        assert (process.returncode, rest, err) == (0, b"", b"")


async def test_demo_ends_well_in_a_pipe() -> None:
    """`flash-driver demo` without a terminal: status 0, no colour codes, nothing on standard error."""
    status, out, err = await ended("demo")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    assert out.count("✓ settled") == 2


async def test_demo_speaks_ascii_where_it_must() -> None:
    """An output that knows no block characters gets a demonstration without them."""
    status, out, err = await ended("demo", "--server-kind", "decline", PYTHONIOENCODING="ascii")
    assert (status, err) == (0, "")
    assert out.isascii()


async def test_string_from_standard_input(sandbox: StartSandbox) -> None:
    """`--file -` keeps the token out of the process list, and no output shows it."""
    server = await sandbox()
    status, out, err = await ended("doctor", "--file", "-", "--json", stdin=f"\n{server.connection_string}\n")
    assert status == 0
    assert json.loads(out)["ok"] is True
    assert CANARY not in out + err


async def test_interrupted_watch_ends_quietly(sandbox: StartSandbox) -> None:
    """Ctrl-C while watching is status 130 and no traceback."""
    server = await sandbox()
    async with running("invoice", "watch") as process:
        async with asyncio.timeout(20):
            while not server.ledger_snapshot()["executed"].get("myUpdates"):  # noqa: ASYNC110 - the ledger rings no wakeup
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (130, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["demo"], ["demo", "--json"]])
async def test_reader_that_leaves_early(arguments: list[str]) -> None:
    """When nobody reads the output any more the command ends without a word."""
    read, write = os.pipe()
    os.close(read)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flash_driver.cli", *arguments, stdout=write, stderr=asyncio.subprocess.PIPE, cwd=ROOT
        )
    finally:
        os.close(write)
    async with asyncio.timeout(40):
        _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def without(module: str, *arguments: str) -> tuple[int | None, str, str]:
    """Run a command where a module is not installed."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; from flash_driver.cli import main; sys.exit(main({arguments!r}))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("module", ["typer", "rich", "segno"])
async def test_missing_package_of_the_extra(module: str) -> None:
    """Without a package of the extra `cli` one line says what to install."""
    expected: Any = (1, "", "error: this command needs the extra 'cli': pip install '.[cli]' in the project's folder\n")
    assert await without(module, "demo") == expected


async def test_missing_package_of_the_sandbox() -> None:
    """Without the sandbox's package the other commands work, and the sandbox says what to install."""
    assert (await without("strawberry", "--version"))[0] == 0
    for command in ("sandbox", "demo"):
        status, _, err = await without("strawberry", command)
        assert (status, err) == (
            1,
            "error: this command needs the extra 'sandbox': pip install '.[sandbox]' in the project's folder\n",
        )
