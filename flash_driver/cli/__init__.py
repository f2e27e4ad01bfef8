"""The command line `flash-driver`: try the driver, examine a server, create invoices, pay, run a sandbox.

Needs the extra `cli`. Importing this package does not: what is missing is told in one line when a command runs.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_OF_THE_EXTRA = ("rich", "segno", "typer")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status, as `flash_driver.cli.failures.Exit` lists them.

    Args:
        argv: The arguments behind the program's name; by default this process's own.

    """
    if any(find_spec(name) is None for name in _OF_THE_EXTRA):
        words = "this command needs the extra 'cli': pip install '.[cli]' in the project's folder"
        print(f"error: {words}", file=sys.stderr)  # noqa: T201 - the tools for output are what is missing
        return 1
    try:
        from flash_driver.cli.app import run  # noqa: PLC0415 - needs the extra, and is slow to load
    except KeyboardInterrupt:
        return 130  # while it loads, as later: interrupted
    return run(list(sys.argv[1:] if argv is None else argv))
