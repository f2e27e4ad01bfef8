"""An unmodified LNbits in a virtual environment of its own, and the programs that it stands on.

LNbits pins an old pydantic, so it can't live in ours. The environment is made once and kept under `.cache/`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.lightning_host.needs import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LNBITS_VERSION", "Program", "free_port", "install_lnbits", "lnbits_program", "wait_until"]

LNBITS_VERSION: Final = "1.6.2"
_CACHE: Final = Path(__file__).parents[2] / ".cache" / f"lnbits-{LNBITS_VERSION}"
_READY_SECONDS: Final = 60.0
_INSTALL_SECONDS: Final = 300.0


@dataclass
class Program:
    """A program under test: started, stopped in order, started again on the same port.

    Attributes:
        command: What to run.
        environment: All that it finds in its environment.
        folder: Where it runs, and where its output is kept.
        ready: The URL that answers 200 once it is ready.

    """

    command: list[str]
    environment: dict[str, str]
    folder: Path
    ready: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self.folder / f"{Path(self.command[0]).name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._is_ready, f"{self.command} is ready")

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Program]:
        """Run it for the length of a block."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def _is_ready(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"{self.command} ended before it was ready")
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.ready, timeout=5).status_code == 200
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so in another process; bounded."""
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(0.1)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def install_lnbits() -> Path:
    """Return the environment that has LNbits, made first if need be; skips the test when it can't be made."""
    if not (_CACHE / "complete").exists():
        python = _old_enough_python()
        shutil.rmtree(_CACHE, ignore_errors=True)
        wanted = [f"lnbits=={LNBITS_VERSION}", "bitstring<5"]  # its bolt11 imports a class that bitstring 5 removed
        try:
            subprocess.run([python, "-m", "venv", _CACHE], check=True, capture_output=True, timeout=_INSTALL_SECONDS)
            subprocess.run(
                [_CACHE / "bin" / "pip", "install", "--quiet", *wanted],
                check=True,
                capture_output=True,
                timeout=_INSTALL_SECONDS,
            )
        except (OSError, subprocess.SubprocessError):
            missing(f"LNbits {LNBITS_VERSION}, which can't be installed,")
        (_CACHE / "complete").touch()
    return _CACHE


def lnbits_program(environment: Path, folder: Path, phoenixd: str, password: str) -> Program:
    """Return an LNbits that uses a phoenixd, by configuration alone."""
    port = free_port()
    code = "import json, sysconfig; print(json.dumps(sysconfig.get_paths()['purelib']))"
    found = subprocess.run([environment / "bin" / "python", "-c", code], check=True, capture_output=True, text=True)
    packages = Path(json.loads(found.stdout))
    # It serves its static files from a path relative to where it runs.
    (folder / "lnbits").mkdir()
    (folder / "lnbits" / "static").symlink_to(packages / "lnbits" / "static")
    (folder / "data" / "logs").mkdir(parents=True)
    settings: dict[str, Any] = {
        "PATH": f"{environment / 'bin'}:{os.defpath}",
        "HOME": str(folder),
        "LNBITS_DATA_FOLDER": str(folder / "data"),
        "LNBITS_BACKEND_WALLET_CLASS": "PhoenixdWallet",
        "PHOENIXD_API_ENDPOINT": phoenixd,
        "PHOENIXD_API_PASSWORD": password,
        "LNBITS_ADMIN_UI": "false",
        "LNBITS_EXTENSIONS_DEACTIVATE_ALL": "true",
        "LNBITS_EXTENSIONS_MANIFESTS": "",
        "LNBITS_WASM_EXTENSIONS_MANIFESTS": "",
        "LNBITS_PRICE_AGGREGATOR_ENABLED": "false",
        "LNBITS_EXCHANGE_RATE_PROVIDERS": "[]",
        "AUTH_HTTPS_ONLY": "false",
        "ENABLE_LOG_TO_FILE": "false",
        "LNBITS_RATE_LIMIT_NO": "100000",
    }
    uvicorn = str(environment / "bin" / "uvicorn")
    command = [uvicorn, "lnbits.__main__:app", "--host", "127.0.0.1", "--port", str(port)]
    return Program(command, settings, folder, f"http://127.0.0.1:{port}/api/v1/health")


def _old_enough_python() -> str:
    """Return a Python that LNbits has releases for: below 3.13."""
    if sys.version_info[:2] in {(3, 11), (3, 12)}:
        return sys.executable
    return shutil.which("python3.12") or shutil.which("python3.11") or missing("a Python below 3.13 for LNbits")
