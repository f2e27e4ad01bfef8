"""Where Flash's server is: the rules for `server` and `websocket`, without any I/O."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["DEFAULT_SERVER", "check_url", "derive_websocket_url", "is_loopback"]

DEFAULT_SERVER: Final = "https://api.flashapp.me/graphql"
_DEFAULT_PATH: Final = "/graphql"
_HOST: Final = re.compile(r"[\w.:-]+")
_NETLOC: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:[0-9]*)?")
_PLAIN_SCHEMES: Final = frozenset({"http", "ws"})


def check_url(text: str, schemes: Collection[str], *, allow_insecure: bool) -> str:
    """Return a URL in canonical form: lower-case scheme and host, a path, nothing else.

    Args:
        text: What the merchant wrote.
        schemes: The schemes that make sense here, lower case.
        allow_insecure: Whether a connection without TLS is wanted, or a `.onion` name from the machine's own resolver.

    Raises:
        ValueError: With the reason, in words that do not repeat the URL.

    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL; write it like https://api.flashapp.me/graphql") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must be a URL that starts with {' or '.join(f'{scheme}://' for scheme in sorted(schemes))}")
    if not parts.hostname:
        raise ValueError("must be a URL that names a host, such as https://api.flashapp.me/graphql")
    _refuse_extras(parts)
    if parts.hostname.rstrip(".").endswith(".onion") and not allow_insecure:
        # Put to ordinary DNS such a name tells others what is looked for (RFC 7686 2), and the driver has no proxy.
        raise ValueError(
            "is a .onion address, for which this driver has no proxy; route the whole machine over Tor and add "
            "allowinsecure=true"
        )
    if parts.scheme in _PLAIN_SCHEMES and not allow_insecure:
        raise ValueError(
            "is not encrypted; use https (wss), or add allowinsecure=true for a server on your own machine"
        )
    # Python's parser drops what stands behind the bracket of an IPv6 address.
    if port == 0 or not text.isprintable() or " " in text or not _NETLOC.fullmatch(parts.netloc):
        raise ValueError("is not a URL that can be connected to")
    if not _resolvable(parts.hostname):
        raise ValueError("is not a URL that can be connected to")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{_path(parts)}"


def derive_websocket_url(server: str) -> str:
    """Return the WebSocket URL that belongs to a checked `server` URL.

    Flash keeps its socket on a host of its own: `api.X` -> `ws.X`; any other name, localhost and IP addresses
    keep their host. Scheme, port and path follow the server's. Source: flash-server.md 1.1.
    """
    parts = urlsplit(server)
    scheme = "wss" if parts.scheme == "https" else "ws"
    netloc = f"ws.{parts.netloc[4:]}" if parts.netloc.startswith("api.") else parts.netloc
    return f"{scheme}://{netloc}{parts.path}"


def is_loopback(url: str) -> bool:
    """Whether a checked URL points at this machine, by its look alone."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _resolvable(host: str) -> bool:
    """Whether a name could be looked up at all: no odd characters, no empty or overlong label."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return _HOST.fullmatch(host) is not None


def _refuse_extras(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name or password; the credential goes into the key 'token'")
    if parts.query or parts.fragment:
        raise ValueError("must not carry a query or a fragment")


def _path(parts: SplitResult) -> str:
    return parts.path if parts.path not in ("", "/") else _DEFAULT_PATH
