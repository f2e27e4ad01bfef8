from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import pytest

from flash_driver.transports.network import connect_to_any, make_tls_context, why_not_connected
from tests.support.sockets import accepting, swallowing, within


def of_certificate() -> ssl.SSLCertVerificationError:
    """Return what the ssl module raises about a certificate."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] c0ffee")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (of_certificate(), "the server's certificate was not accepted (self-signed certificate)"),
        (ssl.SSLError(1, "c0ffee"), "TLS failed (SSLError)"),
        (socket.gaierror(-2, "c0ffee"), "the host name was not found"),
        (ConnectionRefusedError(111, "c0ffee"), "the connection was refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), c0ffee"),
            "the connection was refused",
        ),
        (OSError(errno.EHOSTUNREACH, "c0ffee"), "could not connect (no route to host)"),
        (OSError("c0ffee"), "could not connect (OSError)"),
        (ConnectionResetError(), "could not connect (ConnectionResetError)"),
        (ValueError("c0ffee"), "could not connect (ValueError)"),
        (ExceptionGroup("c0ffee", [ConnectionRefusedError(), OSError()]), "the connection was refused"),
    ],
)
def test_why_not_connected(error: BaseException, words: str) -> None:
    """Each trouble has its words, which show neither address nor anything else of the error's text."""
    assert why_not_connected(error) == words


def test_tls_is_always_verified() -> None:
    """Certificate and host name are checked, and old protocols are not spoken."""
    context = make_tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_a_dead_address_in_front_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first address of a name swallows everything, the next one is tried beside it."""
    with swallowing("127.0.0.2") as dead:
        async with accepting() as port:

            async def two(*_arguments: object, **_options: object) -> list[object]:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in (dead, ("127.0.0.1", port))]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
            async with within():
                connected = await connect_to_any("two.test", port)
            assert connected.getpeername() == ("127.0.0.1", port)
            connected.close()
