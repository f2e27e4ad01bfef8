"""Whose request it is: the address that limits per client are counted by.

Behind a reverse proxy every connection comes from the proxy. `X-Forwarded-For` tells whom it came from, but anybody can
send that header, so it is believed only as far as proxies that are trusted have written it: read from the right, each
entry was added by the one that sent it on, and the first that is no trusted proxy is the client.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiohttp import web

__all__ = ["Address", "Network", "client_key", "is_trusted", "key_of", "read_address", "read_networks"]

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_HEADER: Final = "X-Forwarded-For"
_MOST_HOPS: Final = 20
_PREFIX: Final = 64
"""How much of an IPv6 address tells clients apart: one of them commands all of the rest."""


def read_address(text: str) -> Address | None:
    """Read an IP address, perhaps with a port, as proxies write it; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def read_networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks, separated by commas.

    Raises:
        ValueError: One is neither.

    """
    try:
        return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError:
        raise ValueError("must be addresses or networks separated by commas, such as 127.0.0.1,10.0.0.0/8") from None


def is_trusted(address: Address | None, proxies: Iterable[Network]) -> bool:
    """Whether an address belongs to a trusted proxy."""
    return address is not None and any(address in network for network in proxies)


def client_key(request: web.Request, proxies: Sequence[Network]) -> str:
    """Return what a request's client is counted by: its address, or the first 64 bits of it (IPv6)."""
    client = read_address(request.remote or "")
    if is_trusted(client, proxies):
        hops = [hop for line in request.headers.getall(_HEADER, ()) for hop in line.split(",")]
        for hop in reversed(hops[-_MOST_HOPS:]):
            told = read_address(hop)
            if told is None:
                break  # not an address: whatever stands further left was not written by a proxy
            client = told
            if not is_trusted(client, proxies):
                break
    return "unknown" if client is None else key_of(client)


def key_of(address: Address) -> str:
    """Return what a client with this address is counted by."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, _PREFIX), strict=False))
