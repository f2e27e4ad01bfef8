"""Where webhooks may go: addresses of the internet, and not of this machine or its neighbours.

A webhook's URL comes from outside. What its name means is decided when the connection is made, address by address, so
that neither a name that points inwards nor one that changes its mind leads into the private network.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ForbiddenAddressError", "is_public", "webhook_connector"]


_NAT64: Final = IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """The address is private, and webhooks may not go there."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet; IPv4 inside IPv6 is looked at as what it is."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        inside = IPv4Address(parsed.packed[-4:]) if parsed in _NAT64 else None
        parsed = parsed.ipv4_mapped or parsed.sixtofour or inside or parsed
    return parsed.is_global and not parsed.is_multicast


def webhook_connector(*, private: bool) -> aiohttp.TCPConnector:
    """Make a connector that refuses private addresses, unless they are allowed; it keeps no connection."""
    make_socket: Callable[[Any], socket.socket] | None = None if private else _public_socket
    return aiohttp.TCPConnector(force_close=True, use_dns_cache=False, socket_factory=make_socket)


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise ForbiddenAddressError("webhooks may not go to a private address")
    return socket.socket(family, kind, protocol)
