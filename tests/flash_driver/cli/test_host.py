from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from flash_driver.cli import host as command
from flash_driver.cli.failures import CommandFailed
from flash_driver.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.flash_driver.cli.commands import Commands


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command as a program of its own; it is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flash_driver.cli", "host", *arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()  # not killed: it ends the host's program, which has a session of its own
        async with asyncio.timeout(40):
            await process.wait()


async def first_line(process: asyncio.subprocess.Process) -> str:
    """Return the first line that the command writes."""
    assert process.stdout is not None
    async with asyncio.timeout(50):
        return (await process.stdout.readline()).decode()


async def test_shop_is_served_until_the_signal() -> None:
    """The host answers where the command says, its shop included, and ends with the command."""
    async with running("--port", "0", "--json") as process, aiohttp.ClientSession() as web:
        ready: dict[str, Any] = json.loads(await first_line(process))
        async with web.get(ready["shop"]) as page:
            assert page.status == 200
            assert "Espresso" in await page.text()
        async with web.get(ready["card"]) as page:
            assert "Sandbox card" in await page.text()
        invoices = f"{ready['url']}/api/v1/stores/{ready['store']}/lightning/BTC/invoices"
        key = {"Authorization": f"token {ready['api_key']}"}
        async with web.post(invoices, json={"amount": "1000000"}, headers=key) as made:
            assert made.status == 200
            invoice = await made.json()
        async with web.post(f"{ready['control']}/pay", json={"payment_request": invoice["BOLT11"]}) as paid:
            assert paid.status == 200
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        with pytest.raises(aiohttp.ClientConnectorError):
            await web.get(ready["shop"])


async def test_words_tell_where_to_click() -> None:
    """A person is told what there is to open, all of which is there, and how to end it."""
    async with running("--port", "0") as process, aiohttp.ClientSession(raise_for_status=True) as web:
        assert "Ctrl-C ends both" in await first_line(process)
        for name in ("shop", "card", "Lightning address", "merchant's page"):
            line = await first_line(process)
            assert line.lstrip().startswith(name)
            async with web.get(line.split()[-1]) as page:
                assert page.content_type == "text/html"
        while not (line := await first_line(process)).lstrip().startswith("BTCPay Server"):
            assert line
        kind, server, password = (part.partition("=")[2] for part in line.split()[-1].split(";"))
        assert kind == "phoenixd"
        key = {"Authorization": aiohttp.encode_basic_auth("", password)}
        async with web.get(f"{server}getbalance", headers=key) as balance:
            assert "balanceSat" in await balance.json()
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def test_host_that_does_not_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """When the host's program can't run, the command ends with a line that says so."""
    monkeypatch.setattr(command, "_MODULE", "no_such_program")
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", lambda *_: None)
    with pytest.raises(CommandFailed, match="did not start"):
        await command._serve(Output(), 0, "accept")
    told = capfd.readouterr().err
    assert "no_such_program" in told
    assert "child process" not in told


async def test_host_that_makes_no_card() -> None:
    """A host that has gone away by then is a failure in words, not a stack trace."""
    with pytest.raises(CommandFailed, match="makes no card"):
        await command._make_card("http://127.0.0.1:9/api/v1/stores/shop/flashcards", "key")


async def test_missing_extra_is_named(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages of the host there is one line that says how to get them."""
    monkeypatch.setattr(command, "_NEEDS", "no_such_package")
    ended = await cli("host")
    assert ended.status == 1
    assert "pip install '.[host]' in the project's folder" in ended.err


async def test_host_that_ends_by_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """When the host dies while it serves, the command ends with a failure instead of pretending."""
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", lambda *_: None)
    started: list[asyncio.subprocess.Process] = []
    start = command._start

    async def remember(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*arguments, **options))
        return started[0]

    def kill(*_: object) -> None:
        os.kill(started[0].pid, signal.SIGKILL)

    monkeypatch.setattr(command, "_start", remember)
    monkeypatch.setattr(command, "_welcome", kill)
    with pytest.raises(CommandFailed, match="ended by itself with status -9"):
        await command._serve(Output(), 0, "accept")
    assert capsys.readouterr().out == ""


async def test_help_names_the_command(cli: Commands) -> None:
    """The command is found where a newcomer looks."""
    assert "demo shop" in (await cli("host", "--help")).words
