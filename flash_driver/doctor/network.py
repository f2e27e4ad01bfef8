"""Below GraphQL: is the name known, does the port answer, is the certificate good?"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from flash_driver.doctor.findings import NotApplicable, Result, Trouble
from flash_driver.transports.network import connect_to_any, make_tls_context, why_not_connected

if TYPE_CHECKING:
    from flash_driver.doctor.findings import Examination

__all__ = ["Place", "reach"]

_ENDS_SOON_DAYS: Final = 14
_NO_ANSWER: Final = (
    "a firewall drops the packets, or the server is down: try from another network, and ask the firewall's operator"
)
_DEAD_ADDRESS: Final = (
    "the driver goes on to the next address by itself, a little later; tell the operator of the server or of its DNS"
)
_SHARE: Final = 0.8
"""Of a check's time, for each address."""
_UNKNOWN_SIGNER: Final = (
    "the certificate is signed by nobody that this machine trusts: check server=, or install the operator's authority"
)
_TLS_ADVICE: Final = {
    10: "the server's certificate has run out: tell the server's operator; check this machine's clock as well",
    18: _UNKNOWN_SIGNER,
    19: _UNKNOWN_SIGNER,
    20: "this machine does not know who signed the certificate: update its root certificates; a proxy may meddle, too",
    62: "the certificate belongs to another name: check the host in server= and websocket=",
    64: "the certificate belongs to another address: write the server's name instead of an address",
}
_TLS_ADVICE_ELSE: Final = (
    "the certificate can't be trusted: check server= and this machine's clock and root certificates"
)
_NO_TLS: Final = "this port does not speak TLS: check the port and https:// in server= (wss:// in websocket=)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of the two endpoints lives.

    Attributes:
        host: Name or address.
        port: The TCP port.
        secure: Whether TLS is spoken there.

    """

    host: str
    port: int
    secure: bool

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the place that a checked URL names."""
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        return cls(parts.hostname or "", parts.port or (443 if secure else 80), secure)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def reach(examination: Examination, place: Place) -> bool:
    """Check everything below GraphQL at one place; tell whether it makes sense to go on there."""
    target = str(place)
    advice = "the name server does not answer: check this machine's network and DNS settings"
    async with examination.check("DNS", place.host, if_late=advice) as dns:
        dns.found = await _look_up(place)
    if dns.result is Result.FAIL:
        examination.skip("TCP", "the name is not known", target)
        examination.skip("TLS", "the name is not known", target)
        return False
    async with examination.check("TCP", target, if_late=_NO_ANSWER) as tcp:
        tcp.found, tcp.advice = await _connect(place, examination.seconds * _SHARE)
    if not tcp.passed:
        examination.skip("TLS", "no TCP connection", target)
        return False
    async with examination.check("TLS", target, if_late=_NO_TLS) as tls:
        if not place.secure:
            raise NotApplicable("not encrypted, as allowinsecure or .onion permits")
        tls.found, tls.advice = _describe(await _certificate_end(place), datetime.now(UTC))
    return tls.result is not Result.FAIL


async def _look_up(place: Place) -> str:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(place.host)
        raise NotApplicable("an address, no name")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=1)
    except OSError:
        advice = "check the spelling of the host in server= and websocket=, and this machine's DNS settings"
        if place.host.endswith(".onion"):
            advice = (
                "a .onion name is known inside Tor only, and this driver uses no Tor proxy: route the machine over Tor"
            )
        raise Trouble("the host name was not found", advice) from None
    addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
    return ", ".join(addresses[:2]) + (f" and {len(addresses) - 2} more" if len(addresses) > 2 else "")


async def _connect(place: Place, seconds: float) -> tuple[str, str]:
    """Try each address of a place; one that answers will do, and one that does not is named."""
    addresses = await _addresses(place)
    failures = await asyncio.gather(*(_failure(address, place.port, seconds) for address in addresses))
    dead = {address: failure for address, failure in zip(addresses, failures, strict=True) if failure is not None}
    if len(dead) < len(addresses):
        named = "; ".join(f"{address}: {failure.found}" for address, failure in dead.items())
        return (f"connected, but not by every address ({named})", _DEAD_ADDRESS) if dead else ("connected", "")
    first = next(iter(dead.values()))
    if len(dead) == 1:
        raise first
    named = "; ".join(f"{address}: {failure.found}" for address, failure in dead.items())
    raise Trouble(f"no address answers ({named})", first.advice)


async def _addresses(place: Place) -> list[str]:
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(place.host))]
    found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=1)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


async def _failure(address: str, port: int, seconds: float) -> Trouble | None:
    """Return why an address does not answer; None if it does."""
    try:
        async with asyncio.timeout(seconds):
            await _knock(address, port)
    except TimeoutError:
        return Trouble("no answer", _NO_ANSWER)
    except Trouble as trouble:
        return trouble
    return None


async def _knock(address: str, port: int) -> None:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        advice = "nothing listens on this port: check host and port in server=, and whether the server runs"
        raise Trouble("the connection was refused", advice) from None
    except OSError as error:
        raise Trouble(why_not_connected(error), _NO_ANSWER) from None
    writer.transport.abort()


async def _certificate_end(place: Place) -> datetime:
    """Shake hands, at the address that answers first, and return when the certificate ends."""
    try:
        connected = await connect_to_any(place.host, place.port)
        context = make_tls_context()
        _, writer = await asyncio.open_connection(sock=connected, ssl=context, server_hostname=place.host)
    except ssl.SSLCertVerificationError as error:
        raise Trouble(why_not_connected(error), _TLS_ADVICE.get(error.verify_code, _TLS_ADVICE_ELSE)) from None
    except OSError as error:
        raise Trouble(why_not_connected(error), _NO_TLS) from None
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


def _describe(end: datetime, now: datetime) -> tuple[str, str]:
    days = (end - now).days
    advice = "the certificate ends soon: tell the server's operator" if days < _ENDS_SOON_DAYS else ""
    return f"certificate good for {days} days", advice
