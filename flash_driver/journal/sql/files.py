"""Files of journals, which only their owner can read."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from flash_driver.common.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["identity", "prepare_file"]

_OWNER_ONLY: Final = 0o600
_SQLITE_HEADER: Final = b"SQLite format 3\x00"

_log: Final = get_logger(part="journal")


def prepare_file(path: Path) -> None:
    """Make a journal's file, and its folder where there is none, readable by nobody else.

    SQLite gives its two side files (-wal, -shm) the mode of the file itself.

    Raises:
        OSError: It can't be made.

    """
    path = path.resolve()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not opened without O_EXCL: closing any handle on a database gives up the locks that this process holds on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _OWNER_ONLY))
    _insist_on_regular(path)
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        with contextlib.suppress(FileNotFoundError):
            _keep_others_out(file)


def _insist_on_regular(file: Path) -> None:
    """Touch nothing that is a device, a pipe or a folder."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def _keep_others_out(file: Path) -> None:
    found = file.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not mode & 0o077:
        return
    if found.st_uid != os.geteuid():
        _log.warning("the journal can be read by others, and belongs to another user", file=file, mode=f"{mode:o}")
    elif _may_be_a_journal(file):
        file.chmod(_OWNER_ONLY)
        _log.warning("the journal could be read by others, now it can't", file=file, mode=f"{mode:o}")


def _may_be_a_journal(file: Path) -> bool:
    """Whether a file is empty, a database of SQLite, or what SQLite keeps beside one."""
    if file.name.endswith(("-wal", "-shm")):
        return True
    with file.open("rb") as opened:
        return opened.read(len(_SQLITE_HEADER)) in (b"", _SQLITE_HEADER)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name, None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
