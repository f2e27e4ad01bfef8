from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_driver.flash_api.outcomes import Answer, Garbage, HttpStatus
from flash_driver.transports.http import HttpTransport, read_reply, read_retry_after
from tests.support.routes import HEADERS, Routes

if TYPE_CHECKING:
    import ssl


class TestHttp(Routes):
    """The plain POST keeps every promise of an HTTP route."""

    def make(self, url: str, tls: ssl.SSLContext | None = None) -> HttpTransport:
        """Make the transport."""
        return HttpTransport(url, HEADERS, tls)


def test_name() -> None:
    """It answers to the name in the connection string, and shows nothing of its headers."""
    transport = HttpTransport("http://x/", {"Authorization": "Bearer c0ffee"})
    assert transport.name == "http"
    assert "c0ffee" not in repr(transport)


@pytest.mark.parametrize(
    ("value", "wait"),
    [("17", 17), ("0", 0), ("", None), ("-1", None), ("1.5", None), ("\u0661", None), ("9" * 8, None), ("soon", None)],
)
def test_retry_after(value: str, wait: int | None) -> None:
    """Whole seconds are read, as RFC 9110 10.2.3 has them; absurd values are not."""
    assert read_retry_after({"Retry-After": value}) == (None if wait is None else timedelta(seconds=wait))
    assert read_retry_after({}) is None


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("Sun, 29 Nov 2026 10:00:30 GMT", 30),
        ("Sun, 29 Nov 2026 09:59:00 GMT", 0),
        ("Sunday, 29-Nov-26 10:00:07 GMT", 7),
        ("Sun, 31 Feb 2026 10:00:30 GMT", None),
    ],
)
def test_retry_after_as_a_date(value: str, wait: int | None) -> None:
    """A date is read by the clock of the server that gives it, whatever this machine's says."""
    headers = {"Retry-After": value, "Date": "Sun, 29 Nov 2026 10:00:00 GMT"}
    assert read_retry_after(headers) == (None if wait is None else timedelta(seconds=wait))


@given(st.integers(100, 599), st.binary())
def test_any_body_is_evidence(status: int, body: bytes) -> None:
    """Whatever a server sends is evidence of some kind."""
    evidence = read_reply(status, {}, body)
    assert isinstance(evidence, HttpStatus if status != 200 else Answer | Garbage)
