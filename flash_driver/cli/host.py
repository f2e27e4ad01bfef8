"""`flash-driver host`: a sandbox and a host in front of it, to click through in a browser; no account needed.

The host is a program of its own, started as one: this package knows that there is one, and imports nothing of it.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from flash_driver.cli.failures import CommandFailed, Exit
from flash_driver.cli.logs import log_to
from flash_driver.cli.options import Verbose
from flash_driver.cli.output import Output

if TYPE_CHECKING:
    from flash_driver.sandbox import Sandbox

__all__ = ["host"]

_MODULE: Final = "lightning_host"
_NEEDS: Final = "jinja2"
"""The package that the extra `host` brings, and nothing else does."""
_START_SECONDS: Final = 30.0
_CARD_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 8.0


def host(
    *,
    port: Annotated[
        int, typer.Option(metavar="PORT", help="Of the host; 0 takes a free one.", min=0, max=65535)
    ] = 8080,
    ws_mutations: Annotated[
        Literal["accept", "decline", "close"], typer.Option(help="What becomes of a mutation on the WebSocket.")
    ] = "decline",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready, nothing else.")] = False,
    verbose: Verbose = False,
) -> int:
    """Serve a demo shop, its checkout page and its APIs on a sandbox, until SIGINT or SIGTERM."""
    output = Output(as_json=as_json, verbose=verbose)
    with log_to(output):
        asyncio.run(_serve(output, port, ws_mutations))
    return Exit.OK


async def _serve(output: Output, port: int, ws_mutations: Literal["accept", "decline", "close"]) -> None:
    from flash_driver.sandbox import Sandbox, SandboxOptions  # noqa: PLC0415 - needs the extra `sandbox`

    if importlib.util.find_spec(_NEEDS) is None:
        raise CommandFailed("host", "the host needs the extra `host`: pip install '.[host]' in the project's folder")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="flash-driver-host-") as folder:
        async with Sandbox(SandboxOptions(ws_mutations=ws_mutations)) as sandbox:
            environment = _environment(sandbox, Path(folder))
            process = await _start(port, environment, folder, verbose=output.verbose)
            try:
                ready = await _ready(process)
                _welcome(output, await _facts(ready, environment, sandbox))
                await _until_stopped(process, stop)
            finally:
                await _end(process)


def _environment(sandbox: "Sandbox", folder: Path) -> dict[str, str]:
    """Return what the host is told; everything it keeps goes into a folder that goes with it."""
    return {
        "LIGHTNING_HOST_CONNECTION_STRING": sandbox.connection_string,
        "LIGHTNING_HOST_SANDBOX_CONTROL": sandbox.control,
        "LIGHTNING_HOST_TITLE": "Sandbox shop",
        "LIGHTNING_HOST_API_KEY": secrets.token_urlsafe(24),
        "LIGHTNING_HOST_PHOENIXD_PASSWORD": secrets.token_urlsafe(24),
        "LIGHTNING_HOST_DATABASE_URL": f"sqlite:///{folder / 'host.sqlite3'}",
        "FLASH_JOURNAL_URL": f"sqlite:///{folder / 'journal.sqlite3'}",
    }


async def _start(port: int, environment: dict[str, str], folder: str, *, verbose: bool) -> asyncio.subprocess.Process:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("LIGHTNING_HOST_", "FLASH_"))
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _MODULE,
        "--json",
        "--port",
        str(port),
        *(["--verbose"] if verbose else []),
        stdout=asyncio.subprocess.PIPE,
        env={**inherited, **environment},
        cwd=folder,
        # Ctrl-C at a terminal is for this process, which then ends the other in good order.
        start_new_session=True,
    )


async def _ready(process: asyncio.subprocess.Process) -> dict[str, Any]:
    if process.stdout is None:
        raise CommandFailed("host", "the host can't be listened to")
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = await process.stdout.readline()
            if not line:
                # What is signalled after its end, and before asyncio knows of it, makes asyncio complain.
                await process.wait()
    except TimeoutError:
        raise CommandFailed("host", "the host did not get ready in time") from None
    if not line:
        raise CommandFailed("host", "the host did not start, see above") from None
    ready: dict[str, Any] = json.loads(line)
    return ready


async def _until_stopped(process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
    """Wait for a signal.

    Raises:
        CommandFailed: The host ended by itself.

    """
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not stop.is_set():
            raise CommandFailed("host", f"the host ended by itself with status {ended.result()}")
    finally:
        for task in (ended, stopped):
            task.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the host: kindly, then not."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _facts(ready: dict[str, Any], environment: dict[str, str], sandbox: "Sandbox") -> dict[str, str]:
    """Return what there is to look at and to use."""
    url, (store, *_) = ready["url"], ready["stores"]
    key = environment["LIGHTNING_HOST_API_KEY"]
    return {
        "url": url,
        "shop": f"{url}/demo",
        "card": await _make_card(f"{url}/api/v1/stores/{store}/flashcards", key),
        "store": store,
        "api_key": key,
        "phoenixd_password": environment["LIGHTNING_HOST_PHOENIXD_PASSWORD"],
        "control": sandbox.control,
    }


async def _make_card(cards: str, key: str) -> str:
    """Make a card through the host's API, as a shop would; returns the address of its page.

    Raises:
        CommandFailed: The host makes none.

    """
    import aiohttp  # noqa: PLC0415 - no other command needs it

    timeout, headers = aiohttp.ClientTimeout(total=_CARD_SECONDS), {"Authorization": f"token {key}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers, raise_for_status=True) as web,
            web.post(cards, json={"name": "Sandbox card"}) as made,
        ):
            return str((await made.json())["pageLink"])
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CommandFailed("host", f"the host makes no card ({type(error).__name__})") from None


def _welcome(output: Output, facts: dict[str, str]) -> None:
    if output.as_json:
        output.document(facts)
        return
    url, store = facts["url"], facts["store"]
    info = f"{url}/api/v1/stores/{store}/lightning/BTC/info"
    output.text("The host is ready, in front of a sandbox; Ctrl-C ends both.", style="bold")
    output.text(f"  shop to click through   {facts['shop']}")
    output.text(f"  card to top up          {facts['card']}")
    output.text(f"  Lightning address       {url}/pay/{store}")
    output.text(f"  merchant's page         {url}/merchant")
    output.text(f"  Greenfield API          curl -H 'Authorization: token {facts['api_key']}' {info}")
    output.text(f"  phoenixd password       {facts['phoenixd_password']}")
    output.text(f"  BTCPay Server           type=phoenixd;server={url}/;password={facts['phoenixd_password']}")
