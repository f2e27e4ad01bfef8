"""Connection strings: one line of text to a checked value, and back.

The syntax is BTCPay Server's: ``type=flash;server=https://host/graphql;token=...``. ``;`` stands between pairs, the
first ``=`` splits a pair, blanks around keys and values don't count, keys are case-insensitive, values keep their case.
There is no quoting: a value may hold ``=`` but never ``;``. Older forms are read too, as the pairs they stand for::

    /path, unix:/path or unix://path         type=clightning;server=unix://path
    tcp://host:port                          type=clightning;server=tcp://host:port
    lndhub://login:password@https://host/    type=lndhub;server=https://login:password@host/

The last gets `allowinsecure=true` where its server is `http://`, as BTCPay's own reader of it writes.

Where this grammar is stricter than BTCPay's, it is to keep secrets out of error messages (a key and a type look like a
name, so that they can be shown) and to catch what a copy from a web page brings along (line breaks, invisible
characters). Where it is more lenient: the key `type` and its value may have any case, and a part of blanks only is
skipped, because a trailing ``; `` harms nobody.

At this level any value may be a secret. What is shown of a string is its keys, its type, and its server's address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Never, Self, final, overload

from connection_strings.errors import ConnectionStringError
from connection_strings.secret import Secret
from connection_strings.text import BLANKS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_LENGTH", "ConnectionString", "leniencies"]

MAX_LENGTH: Final = 16 * 1024
"""The longest text that is read, in characters; a macaroon in hex has about a thousand."""

_MASK: Final = "***"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_A_NAME: Final = "at most 32 letters, digits, dots, dashes and underscores"

# An address that can be shown once user info, query and fragment are cut off. Anything less regular is not shown at
# all: a password with a slash in it would otherwise pass for a path.
_ADDRESS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)"
    r"(?:[^/?#@]*@)?"
    r"(?P<place>(?:\[[0-9A-Fa-f:.]*\]|[^/?#@:\[\]]*)(?::[0-9]*)?(?:/[^?#@]*)?)"
    r"(?:[?#][^@]*)?"
)
_CREDENTIAL: Final = r"[A-Za-z0-9._~!$&'()*+,=%-]+"
_LNDHUB: Final = re.compile(
    rf"lndhub://(?P<user>{_CREDENTIAL}:{_CREDENTIAL})@(?P<scheme>https?)://(?P<host>[^/?#]+)(?P<rest>.*)",
    re.IGNORECASE,
)
_USER_INFO: Final = "user info (a name or password before '@') is not allowed in this address"


@final
class ConnectionString:
    """One line of configuration: which driver, and what it needs to know.

    Equal when type and values are; where in the text a key stood doesn't count. Neither `repr` nor `str` is the text
    itself: `render` is the one way to it, so that a reader finds every use by searching for that word.

    Args:
        type: The driver's name, in any case.
        values: The other keys, in any case, and their values.

    Raises:
        ConnectionStringError: The parts can't stand in a connection string.

    """

    __slots__ = ("_positions", "_type", "_values")

    def __init__(self, type: str, values: Mapping[str, str]) -> None:  # noqa: A002 - the key's own name in the text
        pairs = [("type", type), *values.items()]
        self._fill(_Pair(key.strip(BLANKS), value.strip(BLANKS)) for key, value in pairs)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a connection string.

        Raises:
            ConnectionStringError: The text is not one; key and position say where, no value is shown.
            TypeError: `text` is not a `str`.

        """
        if not isinstance(text, str):
            raise TypeError(f"a connection string is text (str), not {type(text).__name__}")
        parsed = object.__new__(cls)
        parsed._fill(_read(text))
        return parsed

    def _fill(self, pairs: Iterable[_Pair]) -> None:
        checked = _check(pairs)
        self._type = checked.pop("type").value
        self._values = _Values({key: checked[key].value for key in sorted(checked)})
        self._positions = {key: pair.key_at for key, pair in checked.items()}
        _check_length(self.render())  # the canonical text of an older form is longer than that form

    @property
    def type(self) -> str:
        """The driver's name, lower case."""
        return self._type

    @property
    def values(self) -> Mapping[str, str]:
        """Every key but `type`, lower case and sorted, and its value; read-only, with a masked `repr`."""
        return self._values

    @overload
    def get(self, key: str) -> str | None: ...

    @overload
    def get(self, key: str, default: str) -> str: ...

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the value of a key, or `default` when the string does not have it."""
        return self._values.get(key, default)

    def secret(self, key: str) -> Secret | None:
        """Return the value of a key so that it can't slip into a log, or None when the string does not have it."""
        value = self._values.get(key)
        return None if value is None else Secret(value)

    def position(self, key: str) -> int | None:
        """Return the zero-based offset of a key in the text it was parsed from; None when there is none."""
        return self._positions.get(key)

    def render(self) -> str:
        """Write the canonical text, secrets included: `type` first, the other keys sorted."""
        pairs = {"type": self._type} | dict(self._values)
        return ";".join(f"{key}={value}" for key, value in pairs.items())

    def __repr__(self) -> str:
        shown = {"type": self._type} | {key: _shown(key, value) for key, value in self._values.items()}
        return f"<ConnectionString {';'.join(f'{key}={value}' for key, value in shown.items())}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConnectionString):
            return NotImplemented
        from hmac import compare_digest  # noqa: PLC0415 - loads a crypto library, seldom needed

        return compare_digest(self.render().encode(), other.render().encode())

    def __hash__(self) -> int:
        return hash((ConnectionString, self.render()))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Never:
        raise TypeError("a ConnectionString can't be pickled; render() it where the text is needed")


@final
class _Values(Mapping[str, str]):
    """The values of a connection string: a read-only mapping that shows its keys."""

    __slots__ = ("_by_key",)

    def __init__(self, by_key: dict[str, str]) -> None:
        self._by_key = by_key

    def __getitem__(self, key: str) -> str:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{key}: {_shown(key, value)}' for key, value in self._by_key.items())}}}"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Never:
        raise TypeError("the values of a ConnectionString can't be pickled; take out what is needed by key")


class _Pair(NamedTuple):
    """A key and its value, trimmed, and where they stand in the text, if there is one."""

    key: str
    value: str
    key_at: int | None = None
    value_at: int | None = None


def _shown(key: str, value: str) -> str:
    """Return what may be seen of a value: the server's address without user info, query and fragment."""
    address = _ADDRESS.fullmatch(value) if key == "server" else None
    return _MASK if address is None else address["scheme"] + address["place"]


def leniencies(text: str) -> tuple[str, ...]:
    """Tell what of a text that can be read here BTCPay Server does not take, in words for the one who pastes it there.

    Raises:
        ConnectionStringError: The text can't be read here either.

    """
    parsed, found = ConnectionString.parse(text), []
    parts = [part.partition("=") for part in text.split(";")]
    types = [value.strip(BLANKS) for key, _, value in parts if key.strip(BLANKS).lower() == "type"]
    if not types:
        return ("blanks around a form without 'type'",) if text != text.strip(BLANKS) else ()
    if any(key and not key.strip(BLANKS) and not equals for key, equals, _ in parts):
        found.append("a part between two ';' that has blanks only")
    if types != [parsed.type]:
        found.append("capitals in the value of 'type'")
    return tuple(found)


# Reading: which of the forms is it, and which pairs does it stand for?


def _read(text: str) -> Iterator[_Pair]:
    _check_length(text)
    start, body = _blanks(text), text.strip(BLANKS)
    if not body:
        raise ConnectionStringError("the connection string is empty; write type=...;key=value")
    if body.startswith("/"):
        return _read_unix(body, start)
    if body.lower().startswith("unix:/"):
        return _read_unix(body[len("unix:") :], start + len("unix:"))
    scheme, separator, address = body.partition("://")
    match scheme.lower() + separator:
        case "tcp://":
            return _read_tcp(address, start + len("tcp://"))
        case "lndhub://":
            return _read_lndhub(body, start)
        case _:
            return _read_pairs(text)


def _read_pairs(text: str) -> Iterator[_Pair]:
    start = 0
    for part in text.split(";"):
        key, equals, value = part.partition("=")
        if equals:
            value_start = start + len(key) + len("=")
            yield _Pair(key.strip(BLANKS), value.strip(BLANKS), start + _blanks(key), value_start + _blanks(value))
        elif part.strip(BLANKS):
            reason = "a pair is written key=value, and here the '=' is missing"
            raise ConnectionStringError(reason, position=start + _blanks(part))
        start += len(part) + len(";")


def _read_unix(path: str, start: int) -> Iterator[_Pair]:
    """Read a socket's path; like BTCPay, without the slashes that it begins with."""
    relative = path.lstrip("/")
    path_at = start + len(path) - len(relative)
    if not relative:
        raise ConnectionStringError("the address has no path", key="server", position=path_at)
    return _clightning("unix://", relative, path_at)


def _read_tcp(address: str, start: int) -> Iterator[_Pair]:
    if not address.partition("/")[0]:
        raise ConnectionStringError("the address has no host", key="server", position=start)
    return _clightning("tcp://", address, start)


def _clightning(scheme: str, address: str, address_at: int) -> Iterator[_Pair]:
    if "@" in address.partition("/")[0]:
        raise ConnectionStringError(_USER_INFO, key="server", position=address_at)
    yield _Pair("type", "clightning", address_at, address_at)
    # The scheme may not stand in the text like that: count from where it would, to point right into the address.
    yield _Pair("server", scheme + address, address_at, address_at - len(scheme))


def _read_lndhub(body: str, start: int) -> Iterator[_Pair]:
    """Read LNDhub's own link; what a URL's user info can't hold has to be written as %XX in login and password."""
    parts = _LNDHUB.fullmatch(body)
    if parts is None:
        reason = (
            "this legacy form is written lndhub://login:password@https://host/, with signs in login and password as %XX"
        )
        raise ConnectionStringError(reason, position=start)
    if "@" in parts["host"]:
        raise ConnectionStringError(_USER_INFO, key="server", position=start + parts.start("host"))
    yield _Pair("type", "lndhub", start, start)
    # The user info goes behind the scheme: what follows keeps its place.
    server = f"{parts['scheme']}://{parts['user']}@{parts['host']}{parts['rest']}"
    yield _Pair("server", server, start + parts.start("scheme"), start + parts.start("user"))
    if parts["scheme"].lower() == "http":
        yield _Pair("allowinsecure", "true", start + parts.start("scheme"))


def _blanks(text: str) -> int:
    """Count the blanks that a text begins with."""
    return len(text) - len(text.lstrip(BLANKS))


# Checking: may these pairs stand together in one connection string?


def _check(pairs: Iterable[_Pair]) -> dict[str, _Pair]:
    """Return the pairs by lower-case key, or refuse the first that breaks a rule."""
    checked: dict[str, _Pair] = {}
    for pair in pairs:
        key = _check_key(pair)
        if key in checked:
            raise ConnectionStringError(f"the key {key!r} is given twice", key=key, position=pair.key_at)
        value = _check_value(key, pair)
        checked[key] = pair._replace(key=key, value=_check_type(pair) if key == "type" else value)
    if "type" not in checked:
        raise ConnectionStringError("the key 'type' is missing; it says which driver to use", key="type")
    return checked


def _check_length(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ConnectionStringError(f"a connection string has at most {MAX_LENGTH} characters, this has {len(text)}")


def _check_key(pair: _Pair) -> str:
    if not pair.key:
        raise ConnectionStringError("the key before '=' is missing", position=pair.key_at)
    if not _NAME.fullmatch(pair.key):
        quoted = "; leave out the quotation marks around the whole" if pair.key[0] in "'\"" else ""
        raise ConnectionStringError(f"this is no key: a key has {_A_NAME}{quoted}", position=pair.key_at)
    return pair.key.lower()


def _check_value(key: str, pair: _Pair) -> str:
    for index, character in enumerate(pair.value):
        if character == ";" or not character.isprintable():
            what = (
                "a ';', which separates pairs" if character == ";" else "a line break, control or invisible character"
            )
            position = None if pair.value_at is None else pair.value_at + index
            raise ConnectionStringError(f"the value of {key!r} holds {what}", key=key, position=position)
    return pair.value


def _check_type(pair: _Pair) -> str:
    if not pair.value:
        raise ConnectionStringError("the key 'type' has no value", key="type", position=pair.value_at)
    if not _NAME.fullmatch(pair.value):
        reason = f"the value of 'type' is not a driver's name, which has {_A_NAME}"
        raise ConnectionStringError(reason, key="type", position=pair.value_at)
    return pair.value.lower()
