from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Never

import pytest

from flash_driver.doctor import examination as examine_module
from flash_driver.doctor import network
from flash_driver.doctor.findings import Examination, Result
from flash_driver.doctor.network import Place, reach
from tests.flash_driver.cli.commands import CANARY
from tests.flash_driver.doctor.examining import examined
from tests.flash_driver.doctor.servers import CERTIFICATE, tls_front
from tests.support.sockets import accepting, swallowing

if TYPE_CHECKING:
    from tests.flash_driver.conftest import StartSandbox


@pytest.mark.parametrize(
    ("url", "place", "shown"),
    [
        ("https://api.flashapp.me/graphql", Place("api.flashapp.me", 443, secure=True), "api.flashapp.me:443"),
        ("ws://127.0.0.1:4010/graphql", Place("127.0.0.1", 4010, secure=False), "127.0.0.1:4010"),
        ("http://x.onion/graphql", Place("x.onion", 80, secure=False), "x.onion:80"),
        ("wss://[::1]:8/graphql", Place("::1", 8, secure=True), "[::1]:8"),
    ],
)
def test_place_of_a_url(url: str, place: Place, shown: str) -> None:
    """Host, port and TLS follow from the URL; the port has the scheme's default."""
    assert Place.of(url) == place
    assert str(place) == shown


async def test_good_certificate(sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a certificate that is trusted everything works over TLS, and the days left are told."""

    def trusting() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(CERTIFICATE))

    monkeypatch.setattr(network, "make_tls_context", trusting)
    monkeypatch.setattr(examine_module, "make_tls_context", trusting)
    async with tls_front(await sandbox()) as port:
        seen = await examined(f"type=flash;server=https://127.0.0.1:{port};token={CANARY}")
    assert seen.failed == []
    assert seen["TLS"].passed
    assert "certificate good for" in seen["TLS"].found
    assert seen.examination.creates == ["websocket", "http", "graphql", "public"]


async def test_certificate_that_nobody_trusts(sandbox: StartSandbox) -> None:
    """A self-signed certificate fails TLS with advice; nothing is sent to such a server."""
    server = await sandbox()
    async with tls_front(server) as port:
        seen = await examined(f"type=flash;server=https://127.0.0.1:{port};token={CANARY}")
    assert seen.failed == ["TLS"]
    assert "certificate was not accepted" in seen["TLS"].found
    assert "signed by nobody that this machine trusts" in seen["TLS"].advice
    assert server.ledger_snapshot()["operations"] == {}


async def test_certificate_of_another_name(sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate for another host is told from one that nobody signed."""
    monkeypatch.setattr(network, "make_tls_context", lambda: ssl.create_default_context(cafile=str(CERTIFICATE)))
    async with tls_front(await sandbox()) as port:
        seen = await examined(f"type=flash;server=https://localhost:{port};token={CANARY}")
    assert seen.failed == ["TLS"]
    assert "belongs to another name" in seen["TLS"].advice
    assert seen["DNS"].passed


async def test_port_without_tls(sandbox: StartSandbox) -> None:
    """https:// to a port that speaks plain HTTP is told as that."""
    server = await sandbox()
    seen = await examined(server.connection_string.replace("http:", "https:"))
    assert seen.failed == ["TLS"]
    assert "does not speak TLS" in seen["TLS"].advice


@pytest.mark.parametrize(("days", "warned"), [(90, False), (13, True)])
def test_days_left_are_told(days: int, *, warned: bool) -> None:
    """A certificate that ends soon passes, with a word of warning."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found, advice = network._describe(now + timedelta(days=days, hours=1), now)
    assert found == f"certificate good for {days} days"
    assert bool(advice) is warned


def refusing(error: OSError) -> Any:
    """Make a function that fails like this."""

    async def fail(*_arguments: object, **_options: object) -> Never:
        raise error

    return fail


@pytest.mark.parametrize(("host", "advice"), [("api.invalid", "check the spelling"), ("x.onion", "inside Tor")])
async def test_unknown_name(monkeypatch: pytest.MonkeyPatch, host: str, advice: str) -> None:
    """A name that is not found ends the checks of its place."""
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refusing(OSError("not found")))
    examination = Examination(5)
    assert not await reach(examination, Place(host, 443, secure=True))
    assert [check.result for check in examination.checks] == [Result.FAIL, Result.SKIPPED, Result.SKIPPED]
    assert advice in examination.checks[0].advice


async def test_many_addresses_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with many addresses shows two of them."""

    async def found(*_arguments: object, **_options: object) -> list[Any]:
        return [(0, 0, 0, "", (f"192.0.2.{n}", 443)) for n in (1, 1, 2, 3, 4)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    assert await network._look_up(Place("api.test", 443, secure=True)) == "192.0.2.1, 192.0.2.2 and 2 more"


def two_addresses(monkeypatch: pytest.MonkeyPatch, port: int) -> Place:
    """Give a place with two addresses, of which only the second one may answer."""

    async def found(*_arguments: object, **_options: object) -> list[Any]:
        rows = [("127.0.0.2", port), ("127.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", row) for row in rows]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    return Place("two.test", port, secure=True)


async def test_dead_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address that answers will do, and the one that does not is named."""
    async with accepting() as port:
        told, advice = await network._connect(two_addresses(monkeypatch, port), 40)
    assert told == "connected, but not by every address (127.0.0.2: the connection was refused)"
    assert "goes on to the next address" in advice


async def test_dead_address_in_front_keeps_nobody_from_the_certificate(
    sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first address swallows everything, the next one shakes hands, as for the driver's own transports."""
    monkeypatch.setattr(network, "make_tls_context", any_name)
    async with tls_front(await sandbox()) as port, asyncio.timeout(40):
        with swallowing("127.0.0.2", port):
            assert await network._certificate_end(two_addresses(monkeypatch, port)) > datetime.now(UTC)


def any_name() -> ssl.SSLContext:
    """Return TLS settings that take the certificate of these tests under any name."""
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    context.check_hostname = False
    return context


async def test_unreachable_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that fails otherwise than refused points at the network."""
    monkeypatch.setattr(asyncio, "open_connection", refusing(OSError(113, "No route to host")))
    examination = Examination(5)
    assert not await reach(examination, Place("127.0.0.1", 1, secure=False))
    assert examination.checks[1].found == "could not connect (no route to host)"
    assert "firewall" in examination.checks[1].advice


async def test_connection_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check has its time: swallowed packets end it with advice."""

    async def never(*_arguments: object, **_options: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", never)
    examination = Examination(0.05)
    assert not await reach(examination, Place("127.0.0.1", 1, secure=False))
    assert examination.checks[1].found.startswith("no answer")
    assert "firewall" in examination.checks[1].advice
