"""The servers that benchmarks run against, each in a process of its own."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flash_driver.sandbox.bank.signer import InvoiceSigner
from tests.benchmarks.answers import MSAT, ReadyInvoice
from tests.benchmarks.children import Child, post

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Server", "delayed", "responder", "sandbox"]

_TOKEN: Final = "ory_st_" + "b" * 32
_LIFE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be reached.

    Attributes:
        server: The URL for HTTP.
        websocket: The URL for the socket.
        token: A session token that it takes.
        process: Where it runs.
        direct: The URL to tell it things, past any proxy.
        wallet_id: The sandbox's wallet.

    """

    server: str
    websocket: str
    token: str
    process: Child
    direct: str
    wallet_id: str = ""

    def connection_string(self, **keys: str) -> str:
        """Return the line that a host is configured with."""
        more = "".join(f";{key.replace('_', '-')}={value}" for key, value in keys.items())
        return f"type=flash;server={self.server};token={self.token};allowinsecure=true{more}"

    def counts(self) -> dict[str, Any]:
        """Return what a responder saw since the last `rewind`."""
        return post(f"{self.direct}/bench/counts")

    def rewind(self) -> None:
        """Let a responder begin again."""
        post(f"{self.direct}/bench/rewind")

    def settle(self, payment_hash: str) -> float:
        """Have a responder tell of a payment; gives back when it did, in seconds of the monotonic clock."""
        return float(post(f"{self.direct}/bench/pay", {"payment_hash": payment_hash})["at"])


@contextmanager
def responder(invoices: int, *, cycle: bool = False) -> Iterator[Server]:
    """Run the cheap server with that many real invoices, signed before anybody measures."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "invoices.json"
        path.write_text(json.dumps(_ready_invoices(invoices)))
        arguments = ["tests.benchmarks.responder", str(path), *(["--cycle"] if cycle else [])]
        with Child(*arguments) as process:
            said = process.hear()
            yield Server(said["server"], said["websocket"], _TOKEN, process, _origin(said["server"]))


@contextmanager
def sandbox(*options: str) -> Iterator[Server]:
    """Run `flash-driver sandbox` without its limit on new invoices."""
    arguments = [
        "flash_driver.cli",
        "sandbox",
        "--port",
        "0",
        "--json",
        "--rate-limit",
        "off",
        "--ws-mutations",
        "accept",
        *options,
    ]
    with Child(*arguments) as process:
        said = process.hear()
        yield Server(
            said["server"], said["websocket"], said["token"], process, _origin(said["server"]), said["wallet_id"]
        )


@contextmanager
def delayed(server: Server, seconds: float) -> Iterator[Server]:
    """Put a link between that takes so long each way."""
    port = urlsplit(server.server).port
    with Child("tests.benchmarks.link", str(port), "--one-way-seconds", str(seconds)) as process:
        origin = f"127.0.0.1:{process.hear()['port']}/graphql"
        yield Server(f"http://{origin}", f"ws://{origin}", server.token, server.process, server.direct)


def _origin(url: str) -> str:
    return f"http://{urlsplit(url).netloc}"


@cache
def _ready_invoices(count: int) -> list[ReadyInvoice]:
    signer, now = InvoiceSigner(), datetime.now(UTC)
    signed = (signer.sign(msat=MSAT, description="coffee", now=now, expiry=_LIFE) for _ in range(count))
    return [ReadyInvoice(each.payment_request, each.payment_hash) for each in signed]
