"""A token is changed while the host runs: on a server that executes on the socket and on one that declines."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import LightningClientFactory
from lightning_host import rotation
from lightning_host.server.serve import serving
from lightning_host.settings import HostSettings
from tests.lightning_host.fake_driver import FakeHandler
from tests.lightning_host.programs import host_program, sandbox_program, wait_until
from tests.support import asking
from tests.support.both_kinds import bench
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.sandbox import Sandbox
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

__all__ = ["bench"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file that a host reads its connection string from, looked at very often."""
    monkeypatch.setattr(rotation, "_LOOK_SECONDS", 0.02)
    path = tmp_path / "connection_string"
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING_FILE", str(path))
    return path


def replace(file: Path, text: str) -> None:
    """Put another text in the file's place at once, as secrets are changed."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def after_new_login(sandbox: Sandbox) -> str:
    """Return the connection string with the token of a new login."""
    string = sandbox.connection_string.replace(sandbox.token, sandbox.log_in())
    assert string != sandbox.connection_string
    return string


async def make(host: RunningHost) -> dict[str, Any]:
    """Make an invoice as BTCPay does."""
    status, answer = await host.phoenixd("POST", "/createinvoice", {"description": "x", "amountSat": "1000"})
    assert status == 200, answer
    return dict(answer)


async def is_paid(host: RunningHost, invoice: dict[str, Any]) -> bool:
    """Whether the host knows that an invoice is paid."""
    return (await host.phoenixd("GET", f"/payments/incoming/{invoice['paymentHash']}"))[1]["isPaid"] is True


async def test_new_token_takes_over(
    bench: Bench, hosts: HostBench, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Open invoices go on being heard, new ones are made, and the old token, once dead, is missed by nobody."""
    sandbox = await bench.sandbox()
    replace(file, sandbox.connection_string)
    host = await hosts.host(sandbox)
    before = await make(host)
    replace(file, after_new_login(sandbox))
    await until(lambda: "store shop uses its new connection string" in caplog.messages)
    sandbox.expire_session()  # of the first token
    sandbox.arm("reset", when="now")
    after = await make(host)
    for each in (before, after):
        sandbox.pay(each["serialized"])
        await until(lambda each=each: is_paid(host, each))  # type: ignore[misc]  # a default binds the loop's value
    await host.healthy()


async def test_dead_token_is_replaced(bench: Bench, hosts: HostBench, file: Path) -> None:
    """A host whose session ended works again as soon as the file has a new token: what was paid meanwhile is told."""
    sandbox = await bench.sandbox()
    replace(file, sandbox.connection_string)
    host = await hosts.host(sandbox)
    invoice = await make(host)
    sandbox.expire_session()
    sandbox.arm("drop_settlement")
    sandbox.arm("reset", when="now")
    sandbox.pay(invoice["serialized"])

    async def is_refused() -> bool:
        return (await host.get("/health"))[0] == 503

    await until(is_refused)
    replace(file, after_new_login(sandbox))
    await until(lambda: is_paid(host, invoice))
    await until(lambda: _is_well(host))
    await make(host)


async def _is_well(host: RunningHost) -> bool:
    return (await host.get("/health"))[0] == 200


async def test_what_can_not_be_used_changes_nothing(
    bench: Bench, hosts: HostBench, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad file is one line in the log, without a secret; all goes on, and a good file is taken afterwards."""
    sandbox = await bench.sandbox()
    replace(file, sandbox.connection_string)
    host = await hosts.host(sandbox)
    server = f"type=flash;server={sandbox.server};websocket={sandbox.websocket};allowinsecure=true"
    bad = {
        "": "every store keeps its connection string: LIGHTNING_HOST_CONNECTION_STRING is empty",
        "type=flash;token=ory_st_": "store shop keeps its connection string: the new one can't be used: the key 'tok",
        f"{server};token=ory_st_unheard_of_0123456789": "refuses the token",
        f"{server};token={sandbox.stranger_token}": "it opens another wallet, which needs a restart",
    }
    for text, words in bad.items():
        replace(file, text)
        await until(lambda words=words: any(words in each for each in caplog.messages))  # type: ignore[misc]  # as above
    assert sum("keeps its connection string" in each for each in caplog.messages) == len(bad)
    assert sandbox.stranger_token not in caplog.text
    assert "unheard_of" not in caplog.text
    invoice = await make(host)
    sandbox.pay(invoice["serialized"])
    await until(lambda: is_paid(host, invoice))
    replace(file, after_new_login(sandbox))
    await until(lambda: "store shop uses its new connection string" in caplog.messages)


async def test_one_of_several_stores_changes(
    hosts: HostBench,
    node: FakeNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of the stores in one file the changed one alone gets a new client; one that is new comes at the next start."""
    monkeypatch.setattr(rotation, "_LOOK_SECONDS", 0.02)
    path = tmp_path / "stores.json"

    def stores(**tokens: str) -> dict[str, dict[str, str]]:
        return {name: {"connection_string": f"type=fake;node={node.name};x={x}"} for name, x in tokens.items()}

    replace(path, json.dumps(stores(bakery="1", books="1")))
    monkeypatch.setenv("LIGHTNING_HOST_STORES_FILE", str(path))
    given = HostSettings(port=0, database_url=hosts.secret())
    async with serving(given, LightningClientFactory([FakeHandler])):
        replace(path, json.dumps(stores(bakery="1", books="2", cafe="1")))
        await until(lambda: "store books uses its new connection string" in caplog.messages)
    assert "stores that were added or taken away come and go at the next start" in caplog.messages
    assert "store bakery" not in caplog.text


async def test_server_that_is_down_is_asked_again(
    bench: Bench, hosts: HostBench, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good string that can't be proved now is taken by itself later; the log says so once, not every time."""
    monkeypatch.setattr(rotation, "_AGAIN_SECONDS", 0.05)
    sandbox = await bench.sandbox()
    replace(file, sandbox.connection_string)
    await hosts.host(sandbox)
    sandbox.arm("reset", operation="*", count=1_000_000)
    replace(file, after_new_login(sandbox))
    await until(lambda: "keeps its connection string" in caplog.text)
    sandbox.clear_faults()
    await until(lambda: "store shop uses its new connection string" in caplog.messages)


def test_hang_up_reads_the_file_again(tmp_path: Path) -> None:
    """SIGHUP ends nothing: the program reads its file, says what came of it, and serves on."""
    file = tmp_path / "connection_string"
    with sandbox_program(tmp_path, "--ws-mutations", "decline") as ready:
        file.write_text(ready["connection_string"])
        host = host_program(tmp_path, "", LIGHTNING_HOST_CONNECTION_STRING_FILE=str(file))
        del host.environment["LIGHTNING_HOST_CONNECTION_STRING"]
        with host.running():
            assert host.process is not None
            host.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "no connection string is another one" in _all_logs(tmp_path), "it says so")
            file.write_text("")
            wait_until(lambda: "every store keeps its connection string" in _all_logs(tmp_path), "it says so")
            assert asking.get(f"{host.url}/ready", timeout=40).status_code == 200


def _all_logs(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("*.log"))
