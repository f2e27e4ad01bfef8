from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket as sockets
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientConnectorError, ClientSession
from yarl import URL

from flash_driver.sandbox import NotPayableError, Sandbox, SandboxOptions, run_sandbox
from flash_driver.sandbox.bank.signer import NotAnInvoiceError
from tests.flash_driver.sandbox.clients import ME, TIMEOUT, UPDATES

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import StartLab


async def test_the_ready_line_tells_all_that_is_needed(lab: Lab) -> None:
    """Keys, prefixes and addresses are those that tests outside this repository rely on."""
    line = lab.sandbox.ready_line()
    assert list(line) == ["connection_string", "server", "websocket", "token", "api_key", "wallet_id", "control"]
    assert line["connection_string"] == f"type=flash;server={line['server']};token={line['token']};allowinsecure=true"
    assert line["server"].startswith("http://127.0.0.1:")
    assert line["websocket"] == line["server"].replace("http", "ws", 1)
    assert line["control"] == line["server"].replace("graphql", "control")
    assert line["token"].startswith("ory_st_")
    assert len(line["token"]) == 39
    prefix, name, secret = line["api_key"].split("_", 2)
    assert (prefix, len(name), len(secret)) == ("fk", 8, 64)


async def test_credentials_can_be_given(start_lab: StartLab) -> None:
    """So that a compose file can know them beforehand."""
    lab = await start_lab(token="ory_st_known", api_key="fk_known")
    assert (lab.sandbox.token, lab.sandbox.api_key) == ("ory_st_known", "fk_known")
    assert (await lab.http(ME)).status == 200


async def test_sandboxes_share_nothing(start_lab: StartLab) -> None:
    """Two in one process have their own accounts, books and tokens."""
    one, other = await start_lab(), await start_lab()
    await one.invoice()
    assert other.sandbox.ledger_snapshot()["invoices"] == []
    assert (await other.http(ME, headers=one.bearer)).status == 401


@pytest.mark.parametrize("host", ["localhost", "::1"])
async def test_other_loopback_addresses_work(start_lab: StartLab, host: str) -> None:
    """A name and an IPv6 address are advertised so that a client can connect."""
    lab = await start_lab(host=host)
    assert (await lab.http(ME)).status == 200
    await lab.socket()


async def test_a_container_binds_to_all_addresses(start_lab: StartLab) -> None:
    """The connection string names a host that can be connected to, and control is open to peers."""
    lab = await start_lab(host="0.0.0.0", public_host="localhost")  # noqa: S104 - the point of the test
    assert lab.sandbox.server.startswith("http://localhost:")
    assert (await lab.control("GET", "ledger"))[0] == 200


async def test_closing_leaves_nothing_behind(start_lab: StartLab) -> None:
    """No task, no socket: clients are told 1001, and the port is free again."""
    lab = await start_lab()
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    await socket.event("RealtimePrice")
    lab.sandbox.arm("silent", operation="me")
    hanging = asyncio.create_task(lab.http(ME))
    await lab.struck()
    async with asyncio.timeout(TIMEOUT):
        await lab.sandbox.aclose()
        assert (await socket.closed())[0] == 1001
        await asyncio.gather(hanging, return_exceptions=True)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("sandbox ")] == []
    async with ClientSession() as session:
        with pytest.raises(ClientConnectorError):
            await session.get(lab.sandbox.server)


async def test_closing_twice_is_fine(lab: Lab) -> None:
    """So is closing what was never started."""
    await lab.sandbox.aclose()
    await lab.sandbox.aclose()
    await Sandbox().aclose()


@pytest.mark.parametrize("passes", range(4))
async def test_nobody_is_served_after_the_end(passes: int) -> None:
    """A connection that comes while the sandbox closes is cut off, at whatever moment it comes."""
    async with Sandbox() as sandbox:
        client = sockets.create_connection(("127.0.0.1", URL(sandbox.server).port or 0))
        client.setblocking(False)  # noqa: FBT003 - the only way that sockets have it
        for _ in range(passes):
            await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(b"GET /control/ledger HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(40):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()


async def test_a_silent_client_does_not_hold_up_the_end(start_lab: StartLab) -> None:
    """A peer that doesn't answer the close frame is left."""
    lab = await start_lab()
    await lab.raw_socket(autoclose=False)
    async with asyncio.timeout(TIMEOUT):
        await lab.sandbox.aclose()


async def test_a_taken_port_is_an_error_and_leaves_nothing(start_lab: StartLab) -> None:
    """The second sandbox on a port says so."""
    lab = await start_lab()
    port = int(lab.sandbox.server.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="Address already in use"):
        await Sandbox(SandboxOptions(port=port)).start()
    assert (await lab.http(ME)).status == 200


async def test_a_fault_for_now_needs_no_running_sandbox() -> None:
    """Before the start there is no socket to strike."""
    sandbox = Sandbox()
    sandbox.arm("reset", when="now")
    assert sandbox.ledger_snapshot()["faults_armed"] == 0


async def test_faults_can_be_cleared_in_the_process(lab: Lab) -> None:
    """As through the control endpoint."""
    lab.sandbox.arm("no_ack")
    lab.sandbox.clear_faults()
    assert lab.sandbox.ledger_snapshot()["faults_armed"] == 0


async def test_paying_in_the_process_tells_what_cannot_be_paid(lab: Lab) -> None:
    """Three different errors for three different mistakes."""
    with pytest.raises(NotAnInvoiceError):
        lab.sandbox.pay("lol")
    with pytest.raises(LookupError):
        lab.sandbox.pay(lab.sandbox.foreign_invoice(1000).payment_request)
    invoice = await lab.invoice()
    lab.sandbox.pay(invoice["paymentRequest"])
    with pytest.raises(NotPayableError, match="paid already"):
        lab.sandbox.pay(invoice["paymentRequest"])


async def test_the_price_can_be_moved_in_the_process(lab: Lab) -> None:
    """The next invoice is made at the new rate."""
    lab.sandbox.set_price(usd_per_btc=Decimal(100_000), spread=Decimal(0))
    await lab.invoice(1)
    assert lab.sandbox.ledger_snapshot()["invoices"][0]["msat"] == 10_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_run_sandbox_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """It says when it is ready, and a signal ends it cleanly."""
    ready: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    running = asyncio.create_task(
        run_sandbox(SandboxOptions(), on_ready=lambda sandbox: ready.put_nowait(sandbox.ready_line()))
    )
    async with asyncio.timeout(TIMEOUT):
        line = await ready.get()
        async with ClientSession() as session, session.get(f"{line['control']}/ledger") as response:
            assert response.status == 200
        os.kill(os.getpid(), number)
        await running


def test_nothing_happens_at_import() -> None:
    """Making a sandbox binds no port: a free one is taken when it starts."""
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        sandbox = Sandbox(SandboxOptions(port=probe.getsockname()[1]))
    assert sandbox.server.endswith("/graphql")
