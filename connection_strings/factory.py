"""From a connection string to a client: find the driver that answers to its `type`.

A driver is installed by an entry point in the group `connection_strings.handlers`: its name is the type, its value a
handler, as a class without arguments or as an object. Only the driver that is asked for is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from connection_strings.errors import ConnectionStringError, LightningError, UnknownConnectionType
from connection_strings.grammar import ConnectionString

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

    from connection_strings.lightning import LightningClient

__all__ = ["ENTRY_POINT_GROUP", "LightningClientFactory", "LightningConnectionStringHandler"]

ENTRY_POINT_GROUP: Final = "connection_strings.handlers"
"""The group in which a distribution announces its drivers."""


@runtime_checkable
class LightningConnectionStringHandler(Protocol):
    """A driver's front door: turns a connection string of its type into a client."""

    @property
    def type(self) -> str:
        """The type that this handler answers to, lower case."""
        ...

    def create(self, connection_string: ConnectionString) -> LightningClient | None:
        """Make a client without opening a connection; None when the string is for somebody else.

        Raises:
            ConnectionStringError: The string is for this handler but can't be used; names the key, never a value.

        """
        ...


@runtime_checkable
class _Closable(Protocol):
    """A handler whose clients leave something open for the next one."""

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Driver:
    """A handler and the words that tell a person where it comes from."""

    handler: LightningConnectionStringHandler
    origin: str


class LightningClientFactory:
    """Makes clients from connection strings.

    Args:
        handlers: The handlers to choose from, as objects or as classes without arguments; None means those installed,
            which are looked up at first use.

    Raises:
        ConnectionStringError: Two of the handlers answer to the same type.

    """

    def __init__(
        self,
        handlers: Iterable[LightningConnectionStringHandler | type[LightningConnectionStringHandler]] | None = None,
    ) -> None:
        self._drivers: dict[str, _Driver] = {}
        self._installed: dict[str, list[EntryPoint]] | None = None if handlers is None else {}
        for given in handlers or ():
            self._add(_driver(given))

    @property
    def types(self) -> tuple[str, ...]:
        """The types that have a driver, sorted."""
        return tuple(sorted({*self._drivers, *self._entries()}))

    def create(self, connection_string: str | ConnectionString) -> LightningClient:
        """Make the client that a connection string describes; cheap, opens no connection.

        Raises:
            UnknownConnectionType: No driver answers to its type.
            ConnectionStringError: The text is malformed, or its driver refuses it, can't be loaded, or failed.

        """
        if not isinstance(connection_string, ConnectionString):
            connection_string = ConnectionString.parse(connection_string)
        driver = self._drivers.get(connection_string.type) or self._load(connection_string.type)
        who = f"the driver of type={connection_string.type} ({driver.origin})"
        try:
            client = driver.handler.create(connection_string)
        except LightningError:
            raise
        except Exception as error:
            # Only the kind of the error is told: its words may quote a value.
            raise ConnectionStringError(f"{who} failed with {type(error).__name__}") from error
        if client is None:
            raise ConnectionStringError(f"{who} says that the string is not for it")
        return client

    async def aclose(self) -> None:
        """Let the drivers in use close now what they keep open for a while on the running event loop.

        Clients that are in use go on. Not needed at the end of the event loop.
        """
        for driver in self._drivers.values():
            if isinstance(driver.handler, _Closable):
                await driver.handler.aclose()

    def _add(self, driver: _Driver) -> None:
        kind = driver.handler.type.lower()
        if kind in self._drivers:
            origins = f"{self._drivers[kind].origin} and {driver.origin}"
            raise ConnectionStringError(f"type={kind} has two drivers: {origins}", key="type")
        self._drivers[kind] = driver

    def _entries(self) -> dict[str, list[EntryPoint]]:
        """Look up, once, what is installed: type -> entry points, without importing any driver."""
        if self._installed is None:
            from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and not needed with given handlers

            self._installed = {}
            for entry in entry_points(group=ENTRY_POINT_GROUP):
                self._installed.setdefault(entry.name.lower(), []).append(entry)
        return self._installed

    def _load(self, kind: str) -> _Driver:
        """Import the installed driver of one type, and keep it."""
        entries = self._entries().get(kind)
        if not entries:
            raise UnknownConnectionType(kind, self.types)
        if len({entry.value for entry in entries}) > 1:
            origins = " and ".join(sorted(map(_origin, entries)))
            raise ConnectionStringError(f"type={kind} has more than one driver: {origins}; keep one", key="type")
        who = f"the driver of type={kind} ({_origin(entries[0])})"
        try:
            driver = _driver(entries[0].load(), _origin(entries[0]))
        except Exception as error:
            # Nothing of the connection string is known while a driver loads, so the words of the error can be told.
            reason = f"{who} can't be loaded: {type(error).__name__}: {error}"
            raise ConnectionStringError(reason, key="type") from error
        if driver.handler.type.lower() != kind:
            raise ConnectionStringError(f"{who} answers to type={driver.handler.type}", key="type")
        self._add(driver)
        return driver


def _driver(given: object, origin: str | None = None) -> _Driver:
    """Take a handler as a class or as an object."""
    handler = given() if isinstance(given, type) else given
    if not isinstance(handler, LightningConnectionStringHandler):
        raise TypeError(f"{type(handler).__name__} is not a handler: it needs `type` and `create`")
    return _Driver(handler, origin or type(handler).__qualname__)


def _origin(entry: EntryPoint) -> str:
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
