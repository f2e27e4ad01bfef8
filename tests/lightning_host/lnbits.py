"""An unmodified LNbits in a virtual environment of its own.

LNbits pins an old pydantic, so it can't live in ours. The environment is made once and kept under `.cache/`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.lightning_host.needs import missing
from tests.lightning_host.programs import Program, free_port
from tests.support.locks import alone

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LNBITS_VERSION", "install_lnbits", "installed_lnbits", "lnbits_being_installed", "lnbits_program"]

LNBITS_VERSION: Final = "1.6.2"
_CACHE: Final = Path(__file__).parents[2] / ".cache" / f"lnbits-{LNBITS_VERSION}"
_INSTALL_SECONDS: Final = 540.0


def installed_lnbits() -> Path | None:
    """Return the environment that has LNbits if it was made before."""
    return _CACHE if (_CACHE / "complete").exists() else None


def install_lnbits() -> Path:
    """Return the environment that has LNbits, made first if need be; skips the test when it can't be made."""
    try:
        _install()
    except (OSError, subprocess.SubprocessError):
        missing(f"LNbits {LNBITS_VERSION}, which can't be installed,")
    return _CACHE


@contextlib.contextmanager
def lnbits_being_installed() -> Iterator[None]:
    """Install LNbits beside what runs in the block, which takes about a minute the first time."""
    if installed_lnbits() is not None:
        yield
        return
    # In a session of its own, so that pip ends with it; what went wrong is seen when LNbits is asked for.
    command, root = [sys.executable, "-m", __name__], Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # those who need LNbits have waited for it


def _install() -> None:
    """Make the environment unless there is one; others that come while it is being made wait."""
    with alone(_CACHE):
        if installed_lnbits() is not None:
            return
        python = _old_enough_python()
        shutil.rmtree(_CACHE, ignore_errors=True)
        wanted = [f"lnbits=={LNBITS_VERSION}", "bitstring<5"]  # its bolt11 imports a class that bitstring 5 removed
        pip = str(_CACHE / "bin" / "pip")
        # Most of what it brings is never loaded: what is, Python compiles when it first starts.
        install = [pip, "install", "--quiet", "--no-compile", *wanted]
        for command in ([python, "-m", "venv", str(_CACHE)], install):
            subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_SECONDS)
        (_CACHE / "complete").touch()


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


if __name__ == "__main__":
    _install()
