from __future__ import annotations

from typing import Any

import pytest

from flash_driver.sandbox import SandboxOptions
from flash_driver.sandbox.options import is_loopback


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ws_mutations": "maybe"}, "ws_mutations must be one of accept, decline, close"),
        ({"http_bearer": "maybe"}, "http_bearer must be one of accept, reject"),
        ({"invoice_unit": "btc"}, "invoice_unit must be one of sat, msat"),
        ({"wallets": ("EUR",)}, "a wallet's currency must be one of USD, USDT, BTC"),
        ({"wallets": ()}, "default_wallet must be the currency of one of the wallets"),
        ({"default_wallet": "USDT"}, "default_wallet must be the currency of one of the wallets"),
        ({"cutover": "COMPLETE"}, "cutover=COMPLETE needs both a USD and a USDT wallet"),
        ({"invoice_expiry_seconds": 0}, "invoice_expiry_seconds must be at least 1"),
        ({"price_tick_seconds": 0.0}, "price_tick_seconds must be at least 0.001"),
        ({"rate_limit": "many"}, "rate_limit must read like 20/120, 20/120/300 or off"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_sentence(options: dict[str, Any], complaint: str) -> None:
    """An option that can't work is refused when the options are made, and the sentence names it."""
    with pytest.raises(ValueError, match="^" + complaint.replace("(", r"\(") + "$"):
        SandboxOptions(**options)


def test_the_first_wallet_is_the_default_one() -> None:
    """Without a choice the first currency is the default, and a BTC wallet comes last."""
    options = SandboxOptions(wallets=("USDT", "USD"), btc_wallet=True)
    assert options.default_currency == "USDT"
    assert options.currencies == ("USDT", "USD", "BTC")


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({}, "127.0.0.1"),
        ({"host": "0.0.0.0"}, "127.0.0.1"),  # noqa: S104 - nothing is bound here
        ({"host": "0.0.0.0", "public_host": "sandbox"}, "sandbox"),  # noqa: S104 - as above
        ({"host": "::1"}, "::1"),
    ],
)
def test_the_advertised_host_can_be_connected_to(options: dict[str, Any], host: str) -> None:
    """Clients are never told the address that means every address."""
    assert SandboxOptions(**options).advertised_host == host


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("web", False)]
)
def test_loopback_is_recognised(host: str, loopback: bool) -> None:  # noqa: FBT001 - a column of the table
    """Only addresses of this very machine count as loopback."""
    assert is_loopback(host) is loopback


def test_credentials_do_not_show() -> None:
    """The repr of options can go into a log."""
    shown = repr(SandboxOptions(token="ory_st_secret", api_key="fk_secret"))
    assert "secret" not in shown
