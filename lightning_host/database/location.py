"""Where the host's database is: `DATABASE_URL`, read and checked.

A URL of PostgreSQL is read by libpq itself, so every option that it knows can stand behind the question mark. What
follows a `+` in the name of a scheme makes no difference: a file is opened by the standard library, a server by
psycopg.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from connection_strings import Secret
from lightning_host.settings import SettingsError

__all__ = ["Location", "read_url"]

_IN_MEMORY: Final = ":memory:"
_POSTGRESQL: Final = "postgresql://user:password@host/name"
_NOT_READ: Final = (
    f"LIGHTNING_HOST_DATABASE_URL must be such as {_POSTGRESQL}, with options of libpq only behind a question mark; "
    "write odd characters of a password as %40, %2F and so on"
)
_HOSTS: Final = re.compile(r"[/@][^,]*|[\w.:%,-]*")
_PORTS: Final = re.compile(r"[\d,]*")


@dataclass(frozen=True, slots=True)
class Location:
    """A database that may be opened.

    Attributes:
        path: The file of SQLite, `:memory:` for none; None for PostgreSQL.
        parameters: What libpq is told to reach PostgreSQL, as JSON; None for SQLite.

    """

    path: str | None = None
    parameters: Secret | None = None

    @property
    def in_memory(self) -> bool:
        """Whether it is gone when the process ends."""
        return self.path == _IN_MEMORY

    @property
    def bare_url(self) -> str:
        """The URL of PostgreSQL without its password and its options, but for where it is."""
        told: dict[str, str] = {} if self.parameters is None else json.loads(self.parameters.reveal())
        bare: dict[str, str] = {
            name: told[name] for name in ("user", "host", "hostaddr", "port", "dbname") if name in told
        }
        user = f"{quote(bare.pop('user'))}@" if "user" in bare else ""
        host, port, name = bare.pop("host", ""), bare.pop("port", ""), bare.pop("dbname")
        if host.startswith("/") or "," in host or "hostaddr" in bare:
            bare |= {"host": host, "port": port}
            host = port = ""
        query = urlencode({name: value for name, value in bare.items() if value})
        return f"postgresql://{user}{host}{port and ':'}{port}/{quote(name)}{query and '?'}{query}"


def read_url(text: str) -> Location:
    """Read `DATABASE_URL`.

    Raises:
        SettingsError: It is not one of SQLite or PostgreSQL, or psycopg is not installed; shows nothing of it.

    """
    scheme, separator, rest = text.strip().partition("://")
    kind = scheme.partition("+")[0]
    if not separator or kind not in ("sqlite", "postgresql", "postgres"):
        raise SettingsError("LIGHTNING_HOST_DATABASE_URL must begin with sqlite:// or postgresql://")
    if kind == "sqlite":
        # As SQLAlchemy writes it: ///relative, ////absolute, nothing for a database in memory.
        path = rest.partition("?")[0].removeprefix("/")
        return Location(path=path or _IN_MEMORY)
    return Location(parameters=Secret(json.dumps(_read_server(rest), sort_keys=True)))


def _read_server(rest: str) -> dict[str, str]:
    """Read what follows `postgresql://`."""
    try:
        import psycopg  # noqa: PLC0415 - needed where the database is on a server only
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as above
    except ModuleNotFoundError:
        words = "LIGHTNING_HOST_DATABASE_URL needs the package psycopg: pip install 'psycopg[binary]'"
        raise SettingsError(words) from None
    # Some write `ssl=require`; libpq takes `ssl=true` only.
    url = "postgresql://" + re.sub(r"(?<=[?&])ssl=(?!true(?:&|$))", "sslmode=", rest)
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except (psycopg.Error, ValueError):
        raise SettingsError(_NOT_READ) from None
    odd = not _HOSTS.fullmatch(parameters.get("host", "")) or not _PORTS.fullmatch(parameters.get("port", ""))
    if odd:  # a part of the password, most likely, which would be shown when nothing answers there
        raise SettingsError(_NOT_READ)
    if not parameters.get("dbname"):
        raise SettingsError(f"LIGHTNING_HOST_DATABASE_URL must name a database: {_POSTGRESQL}")
    if "sslmode" not in parameters and not _is_near(parameters):
        parameters["sslmode"] = "verify-full"
    return parameters


def _is_near(parameters: dict[str, str]) -> bool:
    """Whether every host is this machine, a Unix socket, or a name without a dot, as a service of compose has."""
    hosts = parameters.get("hostaddr") or parameters.get("host") or ""
    return all(_is_near_host(host) for host in hosts.split(","))


def _is_near_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.startswith(("/", "@")) or "." not in host
