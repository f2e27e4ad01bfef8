"""Secrets are searched for in all that the programs leave behind when everything goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from aiohttp import web

from tests.support.answers import DOCUMENTS, answer_to
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.driver import Bench

_ROOT: Final = Path(__file__).parents[1]
TOKENS: Final = ("ory_st_CANARYcanaryCANARYcanary1234", "Opensesamecanary")
"""One that looks like a token, and one without digits that is shorter than what is masked by its look."""

KEYS: Final = {
    "LIGHTNING_HOST_API_KEY": "CANARYkeyOfTheShopCanary",
    "LIGHTNING_HOST_RECEIVE_KEY": "CANARYreceiveKeyCanary",
    "LIGHTNING_HOST_READ_KEY": "CANARYreadKeyCanaryCanary",
    "LIGHTNING_HOST_PHOENIXD_PASSWORD": "CANARYpasswordCanary",
    "LIGHTNING_HOST_PHOENIXD_LIMITED_PASSWORD": "CANARYlimitedCanary",
    "LIGHTNING_HOST_METRICS_TOKEN": "CANARYmetricsTokenCanary",
}
MODES: Final = ("data", "errors", "status", "unauthorized", "redirect", "garbage", "header")


def said_by(mode: str, name: str, token: str) -> tuple[int, str, dict[str, str], str]:
    """Return status, reason, headers and body of a server that repeats the token."""
    document = DOCUMENTS.get(name)
    errors = [{"message": f"bad {token}", "code": token, "extensions": {"code": token}, "path": [token]}]
    match mode:
        case "data" if document is not None:
            return 200, "OK", {}, json.dumps({"data": answer_to(document, token, token)})
        case "errors":
            return 200, "OK", {}, json.dumps({"data": None, "errors": errors})
        case "status":
            return 500, token, {}, json.dumps({"errors": errors})
        case "unauthorized":
            return 401, token, {"WWW-Authenticate": token}, token
        case "redirect":
            return 302, token, {"Location": f"http://127.0.0.1:1/{token}"}, token
        case "header":
            return 429, token, {"Retry-After": token, "Date": token, "Set-Cookie": f"a={token}", "X-A": token}, token
        case _:
            return 200, token, {"Content-Encoding": token}, token


@asynccontextmanager
async def repeating() -> AsyncIterator[str]:
    """Run a server that repeats in every place what it was shown; yields its URL, to which a mode is appended."""

    async def post(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", f"Bearer {TOKENS[0]}").removeprefix("Bearer ")
        name = (await request.json()).get("operationName", "")
        status, reason, headers, body = said_by(request.match_info["mode"], name, token)
        return web.Response(status=status, reason=reason, headers=headers, text=body)

    async def connect(request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        mode = request.match_info["mode"]
        if mode in ("unauthorized", "redirect", "status", "header"):
            status, reason, headers, body = said_by(mode, "", token)
            return web.Response(status=status, reason=reason, headers=headers, text=body)
        socket = web.WebSocketResponse(protocols=("graphql-transport-ws",))
        await socket.prepare(request)
        async for message in socket:
            said = message.json()
            if said["type"] == "connection_init":
                await socket.send_json({"type": "connection_ack", "payload": {"token": token}})
            elif said["type"] == "subscribe" and mode == "garbage":
                await socket.close(code=4403, message=token.encode())
            elif said["type"] == "subscribe":
                _, _, _, body = said_by(mode, said["payload"]["operationName"], token)
                payload = json.loads(body)
                await socket.send_json({"type": "next", "id": said["id"], "payload": payload})
                await socket.send_json({"type": "error", "id": said["id"], "payload": payload.get("errors", [])})
        return socket

    app = web.Application()
    app.add_routes([web.post("/{mode}", post), web.get("/{mode}", connect)])
    async with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


async def output_of(*arguments: str, given: str = "", **variables: str) -> str:
    """Run a program in Python's development mode; returns all that it wrote, to whichever stream."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=_ROOT,
        env={**os.environ, **variables},
    )
    async with asyncio.timeout(300):
        out, _ = await process.communicate(given.encode())
    return out.decode(errors="replace")


def files_of(folder: Path) -> str:
    """Return all bytes of all files, as letters."""
    return "\n".join(path.read_bytes().decode("latin-1") for path in folder.iterdir())


def hits(secrets: tuple[str, ...], text: str) -> list[str]:
    """Return where a secret stands, with some words around it, its own letters left out."""
    found = []
    for secret in secrets:
        at = -1
        while (at := text.find(secret, at + 1)) >= 0:
            found.append(f"{text[max(0, at - 200) : at]}<SECRET>{text[at + len(secret) : at + len(secret) + 40]}")
    return found


@pytest.mark.timeout(400)
async def test_the_driver_and_its_commands(bench: Bench, tmp_path: Path) -> None:
    """No log at DEBUG, traceback with variables, output of a command or byte of the journal shows a token."""
    sandbox = await bench.sandbox()
    bolt11 = sandbox.foreign_invoice(50_000).payment_request
    journal = tmp_path / "journal.sqlite3"
    async with repeating() as url:
        begin = f"type=flash;allowinsecure=true;server={url}"
        strings = [f"{begin}/{mode};token={TOKENS[0]}" for mode in MODES]
        strings += [f"{begin}/{mode};token={TOKENS[1]}" for mode in ("data", "errors")]
        strings += [f"{begin}/status;token={TOKENS[1]};transports=graphql"]
        nobody = "http://127.0.0.1:1/"
        strings += [
            f"type=flash;allowinsecure=true;server={each};token={TOKENS[0]}" for each in (nobody, sandbox.server)
        ]
        commands = [f"{begin}/errors;token={TOKENS[1]}"]
        given = json.dumps({"strings": strings, "commands": commands, "bolt11": bolt11}) + "\n"
        path = f"sqlite+aiosqlite:///{journal}"
        out = await output_of("-m", "tests.support.canary_victim", given=given, FLASH_JOURNAL_URL=path)
    assert out.count("Traceback") > 30
    assert all(found in out for found in ("status 1", "status 2", "httpcore", "_settings", "***"))
    assert hits(TOKENS, out) == []
    assert hits(TOKENS, files_of(tmp_path)) == []


@pytest.mark.timeout(300)
async def test_the_host(tmp_path: Path) -> None:
    """No log at DEBUG, answer, metric or byte of the databases shows a token, key or password of the host."""
    secrets = (*TOKENS, *KEYS.values())
    async with repeating() as url:
        string = f"type=flash;allowinsecure=true;server={url}/errors;token={TOKENS[1]}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-c", _HOST_AT_DEBUG, "--port", "0", "--json", "--verbose"),
            stdout=PIPE,
            stderr=STDOUT,
            cwd=_ROOT,
            env={
                **os.environ,
                **KEYS,
                "LIGHTNING_HOST_CONNECTION_STRING": string,
                "LIGHTNING_HOST_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/host.sqlite3",
                "FLASH_JOURNAL_URL": f"sqlite+aiosqlite:///{tmp_path}/journal.sqlite3",
            },
        )
        assert process.stdout is not None
        lines: list[str] = []
        async with asyncio.timeout(120):
            while not lines or '"port"' not in lines[-1]:
                lines.append((await process.stdout.readline()).decode())
                assert lines[-1], lines
        base = json.loads(lines[-1])["url"]
        reading = asyncio.create_task(process.stdout.read())
        answers = await ask_everything(base)
        process.terminate()
        async with asyncio.timeout(120):
            out = "".join(lines) + (await reading).decode(errors="replace")
            await process.wait()
    assert len(answers) > 20
    assert hits(secrets, "\n".join(answers)) == []
    assert hits(secrets, out) == []
    assert hits(secrets, files_of(tmp_path)) == []


_HOST_AT_DEBUG: Final = """
import logging, sys
from lightning_host import logs
set_up = logs.set_up_logs
def at_debug(level, **options):
    set_up(logging.DEBUG, **options)
    logging.root.setLevel(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
import lightning_host.cli
lightning_host.cli.set_up_logs = at_debug
sys.exit(lightning_host.cli.main(sys.argv[1:]))
"""


async def ask_everything(base: str) -> list[str]:
    """Ask the host for all it has, with right and wrong credentials; returns heads and bodies."""
    password = aiohttp.encode_basic_auth("", KEYS["LIGHTNING_HOST_PHOENIXD_PASSWORD"])
    credentials: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": f"token {KEYS['LIGHTNING_HOST_API_KEY']}"},
        {"Authorization": f"token {KEYS['LIGHTNING_HOST_READ_KEY']}"},
        {"Authorization": password},
        {"Authorization": f"Bearer {KEYS['LIGHTNING_HOST_METRICS_TOKEN']}"},
    )
    api = "/api/v1/stores/shop"
    reads = ("/health", "/ready", "/metrics", "/", "/pay/shop", "/lnurlp/shop/callback?amount=100000", "/getinfo",
             "/getbalance", "/api/v1/api-keys/current", f"{api}/lightning/BTC/info", f"{api}/lightning/BTC/balance",
             f"{api}/checkouts", "/.well-known/lnurlp/shop", "/nothing")  # fmt: skip
    writes: tuple[tuple[str, Any], ...] = (
        (f"{api}/lightning/BTC/invoices", {"json": {"amount": "1000"}}),
        (f"{api}/checkouts", {"json": {"amount": "1000"}}),
        ("/createinvoice", {"data": {"amountSat": "5", "description": "x"}}),
        ("/payinvoice", {"data": {"invoice": "lnbc1"}}),
    )
    told: list[str] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:

        async def ask(method: str, path: str, headers: dict[str, str], **options: Any) -> None:
            options["allow_redirects"] = False
            async with session.request(method, base + path, headers=headers, **options) as response:
                told.append(f"{response.status} {response.headers} {await response.text()}")

        calls = [ask("GET", path, headers) for path in reads for headers in credentials]
        calls += [ask("POST", path, headers, **body) for path, body in writes for headers in credentials]
        await asyncio.gather(*calls)
    return told
