"""The command line `flash-driver`: try the driver, examine a server, create invoices, pay, run a sandbox.

Needs the extra `cli`. Importing this package does not: what is missing is told in one line when a command runs.
"""

from __future__ import annotations

import gc
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_OF_THE_EXTRA = ("rich", "segno", "typer")

_LOADED_OBJECTS: Final = 200_000
"""More objects than a command loads (about 125,000): the first search for garbage comes after that many."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status, as `flash_driver.cli.failures.Exit` lists them.

    Args:
        argv: The arguments behind the program's name; by default this process's own.

    """
    if argv is not None:
        return _run(argv)
    # The process is this command's alone. What it loads stays in use until its end, so a search for garbage finds
    # nothing; together the searches, two of them at the end, took a fifth of the time of a short command.
    gc.set_threshold(_LOADED_OBJECTS)
    try:
        return _run(sys.argv[1:])
    finally:
        gc.freeze()  # leaves nothing for the interpreter's last search


def _run(argv: Sequence[str]) -> int:
    if any(find_spec(name) is None for name in _OF_THE_EXTRA):
        words = "this command needs the extra 'cli': pip install '.[cli]' in the project's folder"
        print(f"error: {words}", file=sys.stderr)  # noqa: T201 - the tools for output are what is missing
        return 1
    try:
        from flash_driver.cli.app import run  # noqa: PLC0415 - needs the extra, and is slow to load
    except KeyboardInterrupt:
        return 130  # while it loads, as later: interrupted
    return run(list(argv))
