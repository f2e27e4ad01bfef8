"""Where a journal is: `memory:`, `sqlite:////path/file` or `postgresql://user:password@host/name`.

PostgreSQL's URLs are taken as providers give them, with every option of libpq behind the question mark. What follows a
`+` in the name of a scheme makes no difference: a file is read by the standard library, a server by psycopg.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qsl, unquote

import platformdirs

from connection_strings.secret import Secret

__all__ = ["JournalKind", "JournalUrl"]

_FORMS: Final = "memory:, sqlite:////path/file or postgresql://user:password@host/name"
_SERVER_FORM: Final = (
    "must name a host and a database: postgresql://user:password@host/name; "
    "write what is not a letter or digit in user and password as %40, %2F and so on"
)
_HOSTS: Final = re.compile(r"(?:(?:\[[0-9A-Fa-f:.]+\]|[\w.%-]*)(?::\d{1,5})?,?)*")
_OURS: Final = frozenset({"application_name", "client_encoding", "fallback_application_name", "replication"})
"""What the driver sets itself."""


class JournalKind(Enum):
    """What keeps a journal."""

    MEMORY = "memory:"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class JournalUrl:
    """A checked URL; what it shows of itself holds no password.

    Attributes:
        kind: What keeps the journal.
        path: The file of a SQLite journal, None for the other kinds.
        parameters: What libpq is told to reach a PostgreSQL server, as JSON; nothing for the other kinds.
        shown: What may be shown of a PostgreSQL server: its hosts and its database.

    """

    kind: JournalKind
    path: Path | None = None
    parameters: Secret | None = None
    shown: str = ""

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
            return cls(JournalKind.MEMORY)
        scheme, separator, rest = text.partition("://")
        if separator and scheme in ("sqlite", "sqlite+aiosqlite"):
            return cls._sqlite(rest)
        if separator and scheme in ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"):
            return cls._postgresql(rest)
        raise ValueError(f"must be {_FORMS}")

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
        """Read what follows `sqlite://`: `/relative` or `//absolute`, as SQLAlchemy writes it."""
        path = Path(rest.removeprefix("/"))
        if not rest.startswith("/") or not path.name or ":memory:" in rest or "?" in rest:
            raise ValueError("must name a file after sqlite:/// and nothing behind it, or be memory:")
        return cls._file(path.absolute())

    @classmethod
    def _file(cls, path: Path) -> Self:
        return cls(JournalKind.SQLITE, path)

    @classmethod
    def _postgresql(cls, rest: str) -> Self:
        """Read what follows `postgresql://`; a password may hold any character, also one that has a meaning in URLs."""
        login, _, place = rest.rpartition("@")
        user, _, password = login.partition(":")
        address, _, query = place.partition("?")
        hosts, slash, name = address.partition("/")
        options = _options(query)
        if not _HOSTS.fullmatch(hosts) or "/" in name or not ((slash and name) or "dbname" in options):
            raise ValueError(_SERVER_FORM)
        given = {"user": unquote(user), "password": unquote(password), "dbname": unquote(name), **_places(hosts)}
        parameters = {key: value for key, value in given.items() if value} | options
        if "sslmode" not in parameters and not _is_near(parameters):
            parameters["sslmode"] = "verify-full"
        where = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
        port = f":{parameters['port']}" if "port" in parameters else ""
        shown = f"{parameters['dbname']!r} at {where}{port}"
        return cls(JournalKind.POSTGRESQL, parameters=Secret(json.dumps(parameters, sort_keys=True)), shown=shown)

    def __str__(self) -> str:
        if self.path is not None:
            return f"the journal {self.path}"
        if self.kind is JournalKind.MEMORY:
            return "the journal in memory"
        return f"the PostgreSQL journal {self.shown}"


def _options(query: str) -> dict[str, str]:
    """Read what is behind the question mark: options of libpq.

    Raises:
        ValueError: One is none; it is named, its value is not.

    """
    options = dict(parse_qsl(query, keep_blank_values=True))
    if "ssl" in options:  # as asyncpg and JDBC call it
        told = options.pop("ssl")
        options.setdefault("sslmode", "require" if told == "true" else told)
    known = _libpq_options()
    for key in options:
        if key not in known or key in _OURS:
            shown = key if key.isidentifier() else "(not a name)"
            raise ValueError(f"must not have the option {shown}: it is none of libpq's, or the driver sets it")
    return options


def _libpq_options() -> frozenset[str]:
    """Return the options that the libpq in use knows."""
    try:
        from psycopg import pq  # noqa: PLC0415 - loaded where there is a PostgreSQL journal only
    except ImportError:
        raise ValueError("needs the package psycopg: pip install 'psycopg[binary]'") from None
    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


def _places(hosts: str) -> dict[str, str]:
    """Return hosts and ports as libpq takes them: two lists of the same length."""
    found = [re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?", each) for each in hosts.split(",")]
    names = ",".join(unquote(match[1]).strip("[]") for match in found if match)
    ports = [match[2] or "" for match in found if match]
    if any(port and not 0 < int(port) < 65536 for port in ports):
        raise ValueError(_SERVER_FORM)
    return {"host": names, "port": ",".join(ports) if any(ports) else ""}


def _is_near(parameters: dict[str, str]) -> bool:
    """Whether every host is this machine, a Unix socket, or a name without a dot, as a service of compose has."""
    hosts = (parameters.get("hostaddr") or parameters.get("host") or "").split(",")
    return all(_is_near_host(host) for host in hosts)


def _is_near_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.startswith(("/", "@")) or "." not in host
