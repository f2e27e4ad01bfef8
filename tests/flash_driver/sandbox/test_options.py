from __future__ import annotations

from typing import Any

import pytest

from flash_driver.sandbox import SandboxOptions
from flash_driver.sandbox.options import Currency, is_loopback


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ws_mutations": "maybe"}, "ws_mutations must be one of accept, decline, close"),
        ({"http_bearer": "maybe"}, "http_bearer must be one of accept, reject"),
        ({"invoice_unit": "btc"}, "invoice_unit must be one of sat, msat"),
        ({"wallets": ("EUR",)}, "a wallet's currency must be one of USD, USDT, BTC"),
        ({"wallets": ()}, "an account needs a wallet"),
        ({"cutover": "SOON"}, "cutover must be one of PRE, IN_PROGRESS, COMPLETE, ROLLED_BACK"),
        ({"migration": "SOON"}, "migration must be one of NOT_BEGUN, MOVING, COMPLETE, FAILED"),
        ({"network": "testnet"}, "network must be one of mainnet, signet, regtest"),
        ({"api_key_limit": 0}, "api_key_limit must be at least 1"),
        ({"custodian_seconds": -1}, "custodian_seconds must lie between 0 and 3600"),
        ({"invoice_expiry_seconds": 0}, "invoice_expiry_seconds must be at least 1"),
        ({"price_tick_seconds": 0.0}, "price_tick_seconds must be at least 0.001"),
        ({"rate_limit": "many"}, "rate_limit must read like 20/120, 20/120/300 or off"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_sentence(options: dict[str, Any], complaint: str) -> None:
    """An option that can't work is refused when the options are made, and the sentence names it."""
    with pytest.raises(ValueError, match="^" + complaint.replace("(", r"\(") + "$"):
        SandboxOptions(**options)


@pytest.mark.parametrize(
    ("wallets", "cutover"), [(("USD",), "PRE"), (("USD", "USDT"), "PRE"), (("USDT",), "COMPLETE"), (("BTC",), "PRE")]
)
def test_an_account_with_usdt_alone_has_moved(wallets: tuple[Currency, ...], cutover: str) -> None:
    """Flash shows a USDT wallet only after the move, so a sandbox with nothing else begins there."""
    assert SandboxOptions(wallets=wallets).cutover_state == cutover


def test_api_key_scopes_are_those_of_flash() -> None:
    """A scope that Flash does not have is refused, and the sentence names those it has."""
    with pytest.raises(ValueError, match="api_key_scopes must be among read:wallet, "):
        SandboxOptions(api_key_scopes=("write_wallet",))


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
