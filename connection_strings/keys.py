"""Which keys a driver takes: aliases merged, misspellings refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connection_strings.errors import ConnectionStringError
from connection_strings.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from connection_strings.grammar import ConnectionString

__all__ = ["canonical_values"]


def canonical_values(
    connection_string: ConnectionString, allowed: Collection[str], aliases: Mapping[str, str]
) -> dict[str, str]:
    """Return a connection string's values under the names that the driver uses.

    Args:
        connection_string: The string to read.
        allowed: The keys that the driver takes, lower case.
        aliases: Other names for some of them -> the name among `allowed`.

    Raises:
        ConnectionStringError: A key is none of these, or a key is given by two of its names.

    """
    values: dict[str, str] = {}
    given: dict[str, str] = {}
    for key, value in connection_string.values.items():
        name = aliases.get(key, key)
        if name not in allowed:
            known = f"; known: {', '.join(sorted(allowed))}"
            hint = did_you_mean(key, {*allowed, *aliases}) or known
            reason = f"the key {key!r} is unknown to type={connection_string.type}{hint}"
            raise ConnectionStringError(reason, key=key, position=connection_string.position(key))
        if name in values:
            reason = f"the keys {given[name]!r} and {key!r} mean the same; give one of them"
            raise ConnectionStringError(reason, key=key, position=connection_string.position(key))
        values[name], given[name] = value, key
    return values
