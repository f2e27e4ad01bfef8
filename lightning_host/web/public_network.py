"""Where a URL from outside may lead: to addresses of the internet, and not of this machine or its neighbours.

What its name means is decided when the connection is made, address by address, so that neither a name that points
inwards nor one that changes its mind leads into the private network.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ForbiddenAddressError", "is_public", "public_connector"]


_SPECIAL: Final = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24
192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4
240.0.0.0/4 ::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2620:4f:8000::/48 3fff::/20
5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""
"""IANA's registries of special-purpose addresses; IPv4 inside IPv6 in the old way (::/96) and site-local besides."""

_NOT_PUBLIC: Final = tuple(ip_network(each) for each in _SPECIAL.split())
"""What is no part of the internet; a table of our own, since those of interpreters differ between releases."""

_IPV6_INTERNET: Final = (IPv6Network("2000::/3"), IPv6Network("64:ff9b::/96"))
"""What of IPv6 is given out at all, and the well-known prefix of NAT64."""


class ForbiddenAddressError(OSError):
    """The address is private, and a URL from outside may not lead there."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet; IPv4 inside IPv6 is looked at as what it is."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or _of_nat64(parsed)
        if inner is None and not any(parsed in network for network in _IPV6_INTERNET):
            return False
        parsed = inner or parsed
    return not any(parsed in network for network in _NOT_PUBLIC if network.version == parsed.version)


def _of_nat64(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a translator (RFC 6052) would connect to, None when it is for none."""
    return IPv4Address(address.packed[-4:]) if address in _IPV6_INTERNET[1] else None


def public_connector(*, private: bool, keep_seconds: float | None = None) -> aiohttp.TCPConnector:
    """Make a connector that refuses private addresses, unless they are allowed.

    Args:
        private: Whether they are.
        keep_seconds: For how long a connection is kept for the next request to the same host; None keeps none.

    """
    make_socket: Callable[[Any], socket.socket] | None = None if private else _public_socket
    kept: dict[str, Any] = {"force_close": True} if keep_seconds is None else {"keepalive_timeout": keep_seconds}
    return aiohttp.TCPConnector(use_dns_cache=False, socket_factory=make_socket, **kept)


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise ForbiddenAddressError("a URL from outside may not lead to a private address")
    return socket.socket(family, kind, protocol)
