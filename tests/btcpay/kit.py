"""A real BTCPay Server: started from the kit beside the repository, once for all tests of a session.

`BTCPAY_KIT` tells where the kit is; by default beside the repository, in `../shared/btcpay`. Without it the tests are
skipped. `BTCPAY_FOLDER` names a folder in which a BTCPay Server is started, or found running, and left running: for
those who run one test again and again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KIT", "BtcPay", "running_btcpay", "unpack_kit"]

KIT: Final = Path(os.environ.get("BTCPAY_KIT") or Path(__file__).parents[3] / "shared" / "btcpay")
"""The folder with the program `btcpay`."""

USD_PER_BTC: Final = "97531.86"
"""The price of every store: no exchange can be reached from tests, and the sandbox begins with the same."""

_UP_SECONDS: Final = 300.0
_ATTEMPTS: Final = 3
_PORTS: Final = range(20_000, 30_000, 2)
_CALL_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class BtcPay:
    """A BTCPay Server that runs.

    Attributes:
        url: Where it serves.
        api_key: Opens all of its API.
        login: The administrator's e-mail address.
        password: The administrator's password.
        probe: The command that starts BTCPay's Lightning library behind lines of JSON, and its environment.

    """

    url: str
    api_key: str
    login: str
    password: str
    probe: tuple[list[str], dict[str, str]]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call its API; gives status and JSON."""
        headers = {"Authorization": f"token {self.api_key}"}
        url = f"{self.url}/api/v1{path}"
        answer = asking.request(method, url, json=body, headers=headers, timeout=_CALL_SECONDS)
        return answer.status_code, answer.json() if answer.content else None

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call its API, which has to agree."""
        status, answer = self.ask(method, path, body)
        assert status in (200, 201, 202), f"{method} {path}: {status} {answer}"
        return answer

    def new_store(self, phoenixd: str, password: str, *, lnurl: bool = False) -> str:
        """Make a store that uses a phoenixd-compatible server; gives its id."""
        store = str(self.call("POST", "/stores", {"name": "Shop", "defaultCurrency": "USD"})["id"])
        connection = f"type=phoenixd;server={phoenixd}/;password={password}"
        self.enable(store, "BTC-LN", {"connectionString": connection})
        if lnurl:
            self.enable(store, "BTC-LNURL", {"useBech32Scheme": True, "lud12Enabled": True})
        script = {"isCustomScript": True, "effectiveScript": f"BTC_USD = {USD_PER_BTC};", "spread": "0"}
        self.call("PUT", f"/stores/{store}/rates/configuration", script)
        return store

    def enable(self, store: str, method: str, config: dict[str, Any]) -> None:
        """Enable a payment method of a store."""
        self.call("PUT", f"/stores/{store}/payment-methods/{method}", {"enabled": True, "config": config})


@contextmanager
def running_btcpay() -> Iterator[BtcPay]:
    """Run BTCPay and its PostgreSQL for the length of a block."""
    # PostgreSQL runs as another user, who has to get in; pytest's own folders are closed.
    with tempfile.TemporaryDirectory(prefix="btcpay-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        kept = os.environ.get("BTCPAY_FOLDER")
        told = _up(folder, stack) if kept is None else json.loads(_kit("up", "--dir", kept).stdout)
        environment, program = told["probe"].split(" ", 1)
        yield BtcPay(
            url=told["url"],
            api_key=told["api_key"],
            login=told["login"],
            password=told["password"],
            probe=([program], dict([environment.split("=", 1)])),
        )


def unpack_kit(folder: Path) -> Path:
    """Unpack BTCPay's programs and the .NET runtime into a folder, unless the kit has done so; gives where they are."""
    unpacked = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "btcpay-kit"
    stamp, archive = unpacked / "unpacked", KIT / "btcpay.tar.xz"
    if stamp.exists() and stamp.stat().st_mtime >= archive.stat().st_mtime:
        return unpacked / "pkg"
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="tar")
    return folder / "pkg"


def _up(folder: str, stack: ExitStack) -> Any:
    """Start the kit, and have the stack stop it; again on other ports where another program took one meanwhile."""
    failed = ""
    for attempt in range(_ATTEMPTS):
        data = f"{folder}/{attempt}"
        stack.callback(_kit, "down", "--forget", "--dir", data)
        done = _kit("up", "--port", str(_two_free_ports()), "--dir", data)
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        failed = done.stderr
    raise AssertionError(f"BTCPay did not start: {failed}")


def _kit(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the kit's program."""
    command = [sys.executable, str(KIT / "btcpay"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=_UP_SECONDS)


def _two_free_ports() -> int:
    """Return a free port whose next one is free, too: PostgreSQL takes it.

    Both lie below those that the system gives to connections, which come and go all the time.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("no two ports in a row are free")
