"""The keys of the connection string and the variables of the environment."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connection_strings import ConnectionString, ConnectionStringError
from flash_driver.flash_api.replies import Currency
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.settings.account import KEYS, FlashSettings
from flash_driver.settings.process import ProcessSettings
from flash_driver.settings.values import DescriptionHashPolicy, TokenKind

CANARY = "ory_st_CanaryThatMustNotShow"
UUID = "11111111-2222-3333-4444-555555555555"


def settings(keys: str) -> FlashSettings:
    """Read settings from the keys behind `type=flash;`."""
    return FlashSettings.from_connection_string(ConnectionString.parse(f"type=flash;{keys}"))


def test_defaults_are_flash_itself() -> None:
    """A token is all that Flash's own server needs."""
    found = settings("token=ory_st_x")
    assert found.server == "https://api.flashapp.me/graphql"
    assert found.websocket == "wss://ws.flashapp.me/graphql"
    assert found.token.reveal() == "ory_st_x"
    assert found.transports == ("websocket", "http", "graphql", "public")
    assert found.description_hash is DescriptionHashPolicy.PREFER
    assert found.amount_tolerance == Decimal(1)
    assert found.pool_size == 1
    assert (found.wallet_id, found.currency, found.allowinsecure) == (None, None, False)


@pytest.mark.parametrize(
    "keys",
    [
        "token=ory_st_x",
        f"server=http://localhost:4010/graphql;allowinsecure=true;token=fk_x=;wallet-id={UUID}",
        "websocket=wss://elsewhere.example/socket;token=x;currency=usdt;transports=http,websocket",
        "token=ory_st_x;description-hash=require;amount-tolerance=0.5;pool-size=3",
    ],
)
def test_settings_tell_the_connection_string(keys: str) -> None:
    """The connection string of settings gives these settings again, and shows no token before it is rendered."""
    found = settings(keys)
    string = found.connection_string
    assert FlashSettings.from_connection_string(ConnectionString.parse(string.render())) == found
    assert f"token={found.token.reveal()}" not in f"{string} {string!r}"
    assert set(string.values) <= KEYS


def test_every_key_is_read() -> None:
    """Each key that the driver documents ends up in its setting."""
    found = settings(
        "server=http://127.0.0.1:4010;token=t;websocket=ws://127.0.0.1:4011/ws;allowinsecure=TRUE;"
        f"wallet-id={UUID.upper()};currency=usdt;transports=HTTP, websocket;description-hash=Require;"
        "pool-size=4;amount-tolerance=2.5"
    )
    assert found.server == "http://127.0.0.1:4010/graphql"
    assert found.websocket == "ws://127.0.0.1:4011/ws"
    assert found.wallet_id == UUID
    assert found.currency is Currency.USDT
    assert found.transports == ("http", "websocket")
    assert found.description_hash is DescriptionHashPolicy.REQUIRE
    assert found.amount_tolerance == Decimal("2.5")
    assert found.pool_size == 4
    assert {field.alias or name for name, field in FlashSettings.model_fields.items()} == KEYS


def test_aliases_of_flash_own_plugin_are_read() -> None:
    """`api` and `api-token`, as Flash's plugin documents them, mean server and token."""
    found = settings("api=https://api.test.flashapp.me/graphql;api-token=ory_st_x")
    assert found.server == "https://api.test.flashapp.me/graphql"
    assert found.websocket == "wss://ws.test.flashapp.me/graphql"
    assert found.token.reveal() == "ory_st_x"


@pytest.mark.parametrize(
    ("token", "kind"),
    [("ory_st_abc", TokenKind.SESSION), ("fk_0123abcd_x", TokenKind.API_KEY), ("eyJ.x.y", TokenKind.BEARER)],
)
def test_token_kind_shows_in_its_look(token: str, kind: TokenKind) -> None:
    """Session tokens, API keys and other bearer tokens are told apart by their prefix."""
    assert settings(f"token={token}").token_kind is kind


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ("server=https://h", "token", "is missing"),
        ("token=", "token", "is empty"),
        (f"token={CANARY} x", "token", "has a blank"),
        (f'token="{CANARY}"', "token", "a quotation mark"),
        ("token=ory_st_", "token", "is cut"),
        (f"token={CANARY};server=", "server", "must be a URL"),
        ("token=ä", "token", "is no token"),
        (f"token=Bearer {CANARY}", "token", "begins with the word Bearer, which belongs to an HTTP header"),
        (f"token={CANARY};server=https://[::1]x", "server", "can be connected to"),
        (f"token={CANARY};server=https://[::1].example", "server", "can be connected to"),
        (f"token={CANARY};server=https://[::1]:80x", "server", "is not a URL"),
        (f"token={CANARY};server=http://h", "server", "is not encrypted"),
        (f"token={CANARY};server=http://evilonion", "server", "is not encrypted"),
        (f"token={CANARY};server=ftp://{CANARY}", "server", "must be a URL that starts with http:// or https://"),
        (f"token={CANARY};server={CANARY}", "server", "must be a URL"),
        (f"token={CANARY};server=https://", "server", "must be a URL that names a host"),
        (f"token={CANARY};server=https://h:99999", "server", "is not a URL"),
        (f"token={CANARY};server=https://h:0", "server", "can be connected to"),
        (f"token={CANARY};server=https://u:{CANARY}@h", "server", "must not carry a user name or password"),
        (f"token={CANARY};server=https://h/graphql?{CANARY}", "server", "must not carry a query"),
        (f"token={CANARY};server=https://h/#{CANARY}", "server", "must not carry a query or a fragment"),
        (f"token={CANARY};websocket=https://h", "websocket", "must be a URL that starts with ws:// or wss://"),
        (f"token={CANARY};websocket=ws://h", "websocket", "is not encrypted"),
        (f"token={CANARY};allowinsecure={CANARY}", "allowinsecure", "must be true or false"),
        (f"token={CANARY};currency={CANARY}", "currency", "must be one of USD, USDT, BTC"),
        (f"token={CANARY};wallet-id={CANARY}", "wallet-id", "must be a wallet's UUID"),
        (f"token={CANARY};transports={CANARY}", "transports", "must be a list of websocket, http, graphql"),
        (f"token={CANARY};transports=http,http", "transports", "must name each transport once"),
        ("token=fk_x;transports=websocket", "transports", "opens no WebSocket"),
        (f"token={CANARY};description-hash={CANARY}", "description-hash", "must be prefer or require"),
        (f"token={CANARY};amount-tolerance={CANARY}", "amount-tolerance", "must be a percentage"),
        (f"token={CANARY};pool-size={CANARY}", "pool-size", "must be a whole number from 1 to 16"),
        (f"token={CANARY};pool-size=0", "pool-size", "must be a whole number from 1 to 16"),
        (f"token={CANARY};pool-size=17", "pool-size", "must be a whole number from 1 to 16"),
        (f"token={CANARY};amount-tolerance=-1", "amount-tolerance", "must be a percentage"),
        (f"token={CANARY};amount-tolerance=NaN", "amount-tolerance", "must be a percentage"),
        (f"tokn={CANARY}", "tokn", "did you mean token?"),
        (f"token={CANARY};api-token={CANARY}", "token", "mean the same"),
    ],
)
def test_refusal_names_the_key_and_never_its_value(keys: str, key: str, words: str) -> None:
    """A bad key gets one clear error that names it, says what to do, and repeats no value."""
    with pytest.raises(ConnectionStringError) as caught:
        settings(keys)
    assert caught.value.key == key
    assert words in str(caught.value)
    assert f"'{key}'" in str(caught.value)
    assert CANARY not in repr(caught.value) + str(caught.value.__context__) + str(caught.value.__cause__)


def test_allowinsecure_is_on_purpose() -> None:
    """A hidden service that the machine's own resolver knows, and a server on one's own machine."""
    assert settings("token=t;server=http://abc.onion/graphql;allowinsecure=true").websocket == "ws://abc.onion/graphql"
    assert settings("token=t;server=http://localhost:4010/graphql;allowinsecure=true").websocket.startswith(
        "ws://localhost"
    )


def test_settings_are_frozen_and_masked() -> None:
    """Settings can't be changed, and show no token."""
    found = settings(f"token={CANARY}")
    with pytest.raises(ValueError, match="frozen"):
        found.server = "x"
    assert CANARY not in f"{found!r} {found}"


def test_fingerprint_tells_accounts_apart() -> None:
    """The same account has the same fingerprint, whatever else is set; the token does not show in it."""
    one = settings(f"token={CANARY}")
    assert one.fingerprint == settings(f"token={CANARY};currency=USD").fingerprint
    assert one.fingerprint != settings(f"token={CANARY}x").fingerprint
    assert one.fingerprint != settings(f"token={CANARY};server=https://h/graphql").fingerprint
    assert CANARY not in one.fingerprint


def test_account_is_never_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shop uses another's token by accident: a missing token stays missing."""
    monkeypatch.setenv("FLASH_TOKEN", CANARY)
    with pytest.raises(ConnectionStringError, match="'token' is missing"):
        settings("server=https://h/graphql")


def test_process_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What concerns the process is read from FLASH_ variables."""
    monkeypatch.setenv("FLASH_INVOICE_BUDGET", "5/60")
    monkeypatch.setenv("FLASH_EXPIRY_GRACE_SECONDS", "30")
    monkeypatch.setenv("FLASH_NETWORK", "regtest")
    monkeypatch.setenv("FLASH_SETTLE_ON", "event")
    found = ProcessSettings.from_environment()
    assert found.invoice_budget == InvoiceBudget(5, 60)
    assert found.expiry_grace_seconds == 30
    assert (found.network, found.settle_on) == ("regtest", "event")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set to nothing, as compose does with a variable that has no value, leaves the default."""
    usual = ProcessSettings.from_environment()
    for name in ("INVOICE_BUDGET", "EXPIRY_GRACE_SECONDS", "NETWORK", "SETTLE_ON"):
        monkeypatch.setenv(f"FLASH_{name}", "")
    assert ProcessSettings.from_environment() == usual


@pytest.mark.parametrize(("text", "budget"), [("20/120", InvoiceBudget(20, 120)), (" OFF ", None)])
def test_invoice_budget_is_a_ratio_or_off(text: str, budget: InvoiceBudget | None) -> None:
    """Invoices per seconds, or no budget."""
    assert InvoiceBudget.parse(text) == budget


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLASH_INVOICE_BUDGET", "20"),
        ("FLASH_INVOICE_BUDGET", "0/120"),
        ("FLASH_EXPIRY_GRACE_SECONDS", "-1"),
        ("FLASH_EXPIRY_GRACE_SECONDS", CANARY),
        ("FLASH_NETWORK", CANARY),
        ("FLASH_SETTLE_ON", CANARY),
    ],
)
def test_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A bad variable of the environment is named, its value is not shown."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConnectionStringError) as caught:
        ProcessSettings.from_environment()
    assert name in str(caught.value)
    assert CANARY not in str(caught.value)
