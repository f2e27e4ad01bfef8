"""Where a journal is: `memory:`, `sqlite+aiosqlite:///path` or `postgresql+asyncpg://user:password@host/name`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs

from connection_strings.secret import Secret

__all__ = ["JournalKind", "JournalUrl"]

_FORMS: Final = "memory:, sqlite+aiosqlite:///path or postgresql+asyncpg://user:password@host/name"


class JournalKind(Enum):
    """What keeps a journal."""

    MEMORY = "memory:"
    SQLITE = "sqlite+aiosqlite"
    POSTGRESQL = "postgresql+asyncpg"


@dataclass(frozen=True, slots=True)
class JournalUrl:
    """A checked URL; what it shows of itself holds no password.

    Attributes:
        kind: What keeps the journal.
        text: The URL as a database driver takes it.
        path: The file of a SQLite journal, None for the other kinds.

    """

    kind: JournalKind
    text: Secret
    path: Path | None = None

    @property
    def forgets(self) -> bool:
        """Whether what is kept is lost when the process ends."""
        return self.kind is JournalKind.MEMORY

    @classmethod
    def parse(cls, value: object) -> JournalUrl:
        """Read a URL; an empty text stands for the default.

        Raises:
            ValueError: It is none of a journal; says what would be, and shows nothing of it.

        """
        if isinstance(value, JournalUrl):
            return value
        text = str(value).strip()
        if not text:
            return cls.default()
        if text.lower() in ("memory", "memory:"):
            return cls(JournalKind.MEMORY, Secret(JournalKind.MEMORY.value))
        scheme, separator, rest = text.partition("://")
        if scheme == JournalKind.SQLITE.value and separator:
            return cls._sqlite(rest)
        if scheme == JournalKind.POSTGRESQL.value and separator:
            return cls._postgresql(text)
        hints = {"sqlite": JournalKind.SQLITE, "postgres": JournalKind.POSTGRESQL, "postgresql": JournalKind.POSTGRESQL}
        meant = f"; for {scheme} write {hints[scheme].value}://" if scheme in hints else ""
        raise ValueError(f"must be {_FORMS}{meant}")

    @classmethod
    def default(cls) -> Self:
        """Return the URL of a file in the user's data folder.

        Raises:
            ValueError: This user has no such folder.

        """
        folder = platformdirs.user_data_path("flash-driver", appauthor=False)
        if not folder.is_absolute():
            raise ValueError("must be set, because this user has no home folder to keep a journal in")
        return cls._file(folder / "journal.db")

    @classmethod
    def _sqlite(cls, rest: str) -> Self:
        """Read what follows the scheme: `/relative` or `//absolute`, as SQLAlchemy writes it."""
        path = Path(rest.removeprefix("/"))
        if not rest.startswith("/") or not path.name or ":memory:" in rest or "?" in rest:
            raise ValueError("must name a file after sqlite+aiosqlite:/// and nothing behind it, or be memory:")
        return cls._file(path.absolute())

    @classmethod
    def _file(cls, path: Path) -> Self:
        return cls(JournalKind.SQLITE, Secret(f"{JournalKind.SQLITE.value}:///{path}"), path)

    @classmethod
    def _postgresql(cls, text: str) -> Self:
        try:
            parts = urlsplit(text)
            usable = bool(parts.path.strip("/")) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("must name a host and a database: postgresql+asyncpg://user:password@host/name")
        if importlib.util.find_spec("asyncpg") is None:
            raise ValueError("must wait until asyncpg is installed: pip install 'flash-driver[postgresql]'")
        return cls(JournalKind.POSTGRESQL, Secret(text))

    def __str__(self) -> str:
        if self.path is not None:
            return f"the journal {self.path}"
        if self.kind is JournalKind.MEMORY:
            return "the journal in memory"
        parts = urlsplit(self.text.reveal())
        where = parts.hostname or next((host for name, host in parse_qsl(parts.query) if name == "host"), "localhost")
        port = f":{parts.port}" if parts.port else ""
        return f"the PostgreSQL journal {unquote(parts.path).strip('/')!r} at {where}{port}"
