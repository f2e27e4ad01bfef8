"""Copying the host's database while it is in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_host.database.errors import reason_of
from lightning_host.database.location import read_url

if TYPE_CHECKING:
    from connection_strings import Secret

__all__ = ["BackupRefused", "back_up"]


class BackupRefused(Exception):
    """There is nothing that could be copied, or it can't be; says what to do, and shows no password."""


def back_up(url: Secret, target: Path) -> Path:
    """Copy a SQLite database into a new file that only this user can read; return where the database is.

    It is a consistent picture of one moment, whatever is written meanwhile. It waits for nobody, and nobody waits.

    Raises:
        SettingsError: The URL is not one of SQLite or PostgreSQL.
        BackupRefused: The database is in PostgreSQL or in memory, is not there, or can't be read; or there is a file
            already where the copy is to go.

    """
    location = read_url(url.reveal())
    if location.path is None:
        copying = f"pg_dump --format=custom --file={target} '{location.bare_url}'"
        raise BackupRefused(f"the database is in PostgreSQL, which copies itself: {copying}")
    source = Path(location.path)
    if not source.is_file():
        raise BackupRefused(f"there is no database in a file {source}; LIGHTNING_HOST_DATABASE_URL names it")
    try:
        target.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise BackupRefused(f"{target} can't be made: {error.strerror}") from None
    try:
        with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as write:
            read.backup(write)
    except sqlite3.Error as error:
        target.unlink()
        raise BackupRefused(f"{source} can't be copied: {reason_of(error)}") from None
    return source
