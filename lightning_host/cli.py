"""The command `lightning-host`: reads the environment, serves, and says where."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connection_strings import ConnectionStringError
from lightning_host.database import DatabaseUnusable, SchemaError
from lightning_host.logs import set_up_logs
from lightning_host.settings import DatabaseSettings, HostSettings, SettingsError
from lightning_host.settings_help import unknown_variables, variables_help

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_REMEDIES: Final = {
    errno.EADDRINUSE: "; end what listens there, or choose another port with --port or LIGHTNING_HOST_PORT",
    errno.EADDRNOTAVAIL: "; choose an address of this machine with --bind or LIGHTNING_HOST_BIND",
    errno.EACCES: "; choose a port from 1024 on with --port or LIGHTNING_HOST_PORT",
}
_log: Final = logging.getLogger("lightning_host")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the host; returns what the process exits with."""
    parser = argparse.ArgumentParser(
        prog="lightning-host",
        description="Serve a Lightning wallet to shops, wallets and other servers.",
        epilog=variables_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bind", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_whole, help="port to listen on, 0 for a free one (default 8080)")
    parser.add_argument("--json", action="store_true", help="say in one line of JSON when ready")
    parser.add_argument("--verbose", action="store_true", help="log each step; as LOG_LEVEL=info")
    commands = parser.add_subparsers(title="instead of serving", metavar="COMMAND", dest="command")
    backup = commands.add_parser("backup", help="copy the host's database while it is in use")
    backup.add_argument("path", type=Path, help="the file to make")
    link = commands.add_parser("merchant-link", help="make a link that logs in to the merchant's page, once")
    link.add_argument("--store", help="the id of the store; needed where there are many")
    link.add_argument("--minutes", type=_whole, default=10, help="how long it can be used (default 10)")
    link.add_argument("--changes", action="store_true", help="allow to send webhooks again; else it reads only")
    chosen = parser.parse_args(arguments)
    set_up_logs(logging.WARNING, as_json=False)
    try:
        if chosen.command == "backup":
            return _back_up(chosen.path)
        given = {name: getattr(chosen, name) for name in ("bind", "port") if getattr(chosen, name) is not None}
        settings = HostSettings.from_environment(**given)
        if chosen.command == "merchant-link":
            return _make_link(settings, chosen.store, chosen.minutes, changes=chosen.changes)
        level = "info" if chosen.verbose and settings.log_level != "debug" else settings.log_level
        set_up_logs(logging.getLevelNamesMapping()[level.upper()], as_json=settings.log_format == "json")
        for sentence in (*unknown_variables(os.environ), *settings.doubts):
            _log.warning("%s", sentence)
        from lightning_host.server.event_loop import new_event_loop  # noqa: PLC0415 - needs the extra `host`
        from lightning_host.server.serve import run_host  # noqa: PLC0415 - as above

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(run_host(settings, _ready_line if chosen.json else _ready_words))
    except (SettingsError, ConnectionStringError, SchemaError) as error:
        sys.stderr.write(f"lightning-host: {error}\n")
        return 2
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"lightning-host: the package {error.name} is missing: install this one with its extra 'host'\n"
        )
        return 1
    except DatabaseUnusable as error:
        sys.stderr.write(f"lightning-host: can't start: {error}\n")
        return 1
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "")
        sys.stderr.write(f"lightning-host: can't start: {error.strerror or type(error).__name__}{remedy}\n")
        return 1
    return 0


def _whole(text: str) -> int:
    """Read a whole number; whether it is in range is told by who uses it.

    Raises:
        ArgumentTypeError: It is none.

    """
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


def _back_up(path: Path) -> int:
    """Copy the database into a file; returns what the process exits with."""
    from lightning_host.database.backup import BackupRefused, back_up  # noqa: PLC0415 - needs the extra `host`

    try:
        source = back_up(DatabaseSettings.from_environment().database_url, path)
    except BackupRefused as error:
        sys.stderr.write(f"lightning-host: {error}\n")
        return 2
    _say(f"{source} is copied to {path}")
    return 0


def _make_link(settings: HostSettings, store: str | None, minutes: int, *, changes: bool) -> int:
    """Print a link into the merchant's page; returns what the process exits with."""
    from lightning_host.merchant.api import MOST_SECONDS, new_link  # noqa: PLC0415 - needs the extra `host`

    stores = sorted(settings.all_stores)
    if store is None and len(stores) == 1:
        store = stores[0]
    if store not in stores:
        sys.stderr.write(f"lightning-host: --store must be one of {', '.join(stores)}\n")
        return 2
    if not 1 <= minutes <= MOST_SECONDS // 60:
        sys.stderr.write(f"lightning-host: --minutes must be from 1 to {MOST_SECONDS // 60}\n")
        return 2
    _say(asyncio.run(new_link(settings, store, timedelta(minutes=minutes), changes=changes)).reveal())
    return 0


def _ready_line(settings: HostSettings) -> None:
    _say(json.dumps({"url": settings.base_url, "port": settings.port, "stores": sorted(settings.all_stores)}))


def _ready_words(settings: HostSettings) -> None:
    _say(f"serving {', '.join(sorted(settings.all_stores))} at {settings.base_url}")
    if any(store.phoenixd_password for store in settings.all_stores.values()):
        line = f"type=phoenixd;server={settings.base_url}/;password=PASSWORD"
        _say(f"BTCPay Server connects by {line} with the phoenixd password of a store")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
