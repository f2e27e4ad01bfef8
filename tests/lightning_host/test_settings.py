"""What can be set: the environment, files that it names, and what is refused."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from connection_strings import Secret
from lightning_host.allowance import Allowance
from lightning_host.settings import HostSettings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

STRING = "type=fake;node=somewhere;token=very-secret"


def from_environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> HostSettings:
    """Read settings from LIGHTNING_HOST_ variables."""
    for name, value in variables.items():
        monkeypatch.setenv(f"LIGHTNING_HOST_{name}", value)
    return HostSettings.from_environment()


def test_one_variable_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection string makes a host on loopback, with SQLite, whose API is closed."""
    settings = from_environment(monkeypatch, CONNECTION_STRING=STRING)
    (store,) = settings.all_stores.values()
    assert (list(settings.all_stores), settings.base_url) == (["shop"], "http://127.0.0.1:8080")
    assert store.connection_string == Secret(STRING)
    assert (store.api_keys, store.phoenixd_password) == ((), None)
    assert settings.database_url.reveal().startswith("sqlite")


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable has a twin that names a file; line ends around the value do not count."""
    for name, value in (("string", STRING), ("key", "api-key-from-a-file"), ("title", "The Shop")):
        (tmp_path / name).write_text(f"{value}\n")
    settings = from_environment(
        monkeypatch,
        CONNECTION_STRING_FILE=str(tmp_path / "string"),
        API_KEY_FILE=str(tmp_path / "key"),
        TITLE_FILE=str(tmp_path / "title"),
    )
    (store,) = settings.all_stores.values()
    assert (store.connection_string, store.api_keys, store.title) == (
        Secret(STRING),
        (Secret("api-key-from-a-file"),),
        "The Shop",
    )


def test_many_stores_come_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stores of any number, from the environment or a file, besides the single one."""
    stores = {"bakery": {"connection_string": STRING, "api_keys": ["key-of-the-bakery"], "addresses": ["bread"]}}
    (tmp_path / "stores").write_text(json.dumps(stores))
    settings = from_environment(monkeypatch, CONNECTION_STRING=STRING, STORES_FILE=str(tmp_path / "stores"))
    assert list(settings.all_stores) == ["shop", "bakery"]
    assert settings.all_stores["bakery"].addresses == ("bread",)


def test_public_url_begins_every_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is configured counts, written as browsers do: in lower case, without a port that goes without saying."""
    settings = from_environment(monkeypatch, CONNECTION_STRING=STRING, PUBLIC_URL="https://PAY.example.com:443/")
    assert settings.base_url == "https://pay.example.com"
    odd = from_environment(monkeypatch, CONNECTION_STRING=STRING, PUBLIC_URL="http://pay.example.com:8080")
    assert odd.base_url == "http://pay.example.com:8080"
    local = settings.model_copy(update={"public_url": "", "bind": "::1", "port": 1})
    assert local.base_url == "http://[::1]:1"


def test_trusted_proxies_are_addresses_or_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """None by default; else a list with commas, of either family."""
    assert HostSettings(connection_string=Secret(STRING)).trusted_proxies == ()
    settings = from_environment(monkeypatch, CONNECTION_STRING=STRING, TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8,::1")
    assert settings.trusted_proxies == tuple(ip_network(each) for each in ("127.0.0.1", "10.0.0.0/8", "::1"))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "LIGHTNING_HOST_CONNECTION_STRING is missing"),
        ({"CONNECTION_STRING": " "}, "LIGHTNING_HOST_CONNECTION_STRING is empty"),
        ({"CONNECTION_STRING": STRING, "API_KEY": "short"}, "LIGHTNING_HOST_API_KEY must be 16 visible characters"),
        ({"CONNECTION_STRING": STRING, "API_KEY": "with blanks in it"}, "must be 16 visible characters"),
        ({"CONNECTION_STRING": STRING, "STORE_ID": "../shop"}, "LIGHTNING_HOST_STORE_ID must be 1 to 64"),
        ({"CONNECTION_STRING": STRING, "STORE_ID": "Shop"}, "LIGHTNING_HOST_STORE_ID must be 1 to 64"),
        ({"CONNECTION_STRING": STRING, "PORT": "99999"}, "LIGHTNING_HOST_PORT"),
        ({"CONNECTION_STRING": STRING, "PUBLIC_URL": "pay.example.com"}, "LIGHTNING_HOST_PUBLIC_URL must be an http"),
        ({"CONNECTION_STRING": STRING, "PUBLIC_URL": "https://u:p@x/"}, "LIGHTNING_HOST_PUBLIC_URL must be an http"),
        ({"CONNECTION_STRING": STRING, "PUBLIC_URL": "https://a.example/shop"}, "PUBLIC_URL must have no path"),
        ({"CONNECTION_STRING": STRING, "BIND": "0.0.0.0"}, "LIGHTNING_HOST_PUBLIC_URL is missing"),  # noqa: S104 - nothing is bound
        ({"CONNECTION_STRING": STRING, "BIND": "::"}, "PUBLIC_URL is missing"),
        ({"CONNECTION_STRING": STRING, "TITLE": "a\nb"}, "TITLE must be one line of visible characters"),
        ({"CONNECTION_STRING": STRING, "TITLE": "half \udce9"}, "LIGHTNING_HOST_TITLE must be a valid string"),
        ({"CONNECTION_STRING": STRING, "FRAME_ANCESTORS": "*; script-src *"}, "FRAME_ANCESTORS must be origins"),
        ({"CONNECTION_STRING": STRING, "SANDBOX_CONTROL": "file:///x"}, "LIGHTNING_HOST_SANDBOX_CONTROL must be"),
        ({"CONNECTION_STRING": STRING, "LNURL_ALLOWANCE": "many"}, "LIGHTNING_HOST_LNURL_ALLOWANCE"),
        ({"CONNECTION_STRING": STRING, "LNURL_MIN_SAT": "9", "LNURL_MAX_SAT": "8"}, "LNURL_MIN_SAT must not be more"),
        ({"CONNECTION_STRING": STRING, "STORES": "{very-secret"}, "LIGHTNING_HOST_STORES must be JSON"),
        ({"CONNECTION_STRING": STRING, "LNURL_ALLOWANCE": "5"}, "LNURL_ALLOWANCE must be times per seconds"),
        ({"CONNECTION_STRING": STRING, "CHECKOUT_SECONDS": "abc"}, "CHECKOUT_SECONDS must be a valid integer"),
        ({"CONNECTION_STRING": STRING, "TRUSTED_PROXIES": "proxy"}, "LIGHTNING_HOST_TRUSTED_PROXIES must be addresses"),
        ({"CONNECTION_STRING": STRING, "TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES must be addresses"),
        ({"STORES": '{"a": {"connection_string": "x", "keys": []}}'}, "LIGHTNING_HOST_STORES[a][keys]"),
        ({"STORES": '{"A": {"connection_string": "x"}}'}, "LIGHTNING_HOST_STORES must be 1 to 64"),
        ({"STORES": '{"a": {"connection_string": "x", "addresses": ["b c"]}}'}, "must be 1 to 64"),
        ({"CONNECTION_STRING": STRING, "STORES": '{"shop": {"connection_string": "x"}}'}, "must not have the id"),
        (
            {"STORES": '{"a": {"connection_string": "x", "addresses": ["b"]}, "b": {"connection_string": "x"}}'},
            "STORES must not share a Lightning address",
        ),
        (
            {
                "CONNECTION_STRING": STRING,
                "PHOENIXD_PASSWORD": "the-same-password",
                "STORES": '{"a": {"connection_string": "x", "phoenixd_password": "the-same-password"}}',
            },
            "PHOENIXD_PASSWORD must differ from store to store",
        ),
        (
            {"CONNECTION_STRING_FILE": "/nowhere/at/all"},
            "_FILE names a file that can't be read: No such file or directory",
        ),
        ({"CONNECTION_STRING": STRING, "CONNECTION_STRING_FILE": "/x"}, "are both set; keep one"),
    ],
)
def test_setting_that_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    """Each error names the variable and what to do, and shows no value of a secret one."""
    with pytest.raises(SettingsError) as caught:
        from_environment(monkeypatch, **variables)
    assert words in str(caught.value)
    assert "very-secret" not in str(caught.value)
    assert "the-same-password" not in str(caught.value)


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing settings shows no connection string, key, password or database URL."""
    settings = from_environment(
        monkeypatch,
        CONNECTION_STRING=STRING,
        API_KEY="very-secret-api-key",
        PHOENIXD_PASSWORD="very-secret-password",
        DATABASE_URL="postgresql://user:very-secret@db/host",
    )
    assert "very-secret" not in f"{settings!r} {settings} {settings.all_stores!r}"


def test_allowance_can_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """`off` is no limit, as with the driver's own budget."""
    settings = from_environment(monkeypatch, CONNECTION_STRING=STRING, LNURL_ALLOWANCE="off", CHECKOUT_ALLOWANCE="1/9")
    assert (settings.lnurl_allowance, settings.checkout_allowance) == (None, Allowance(times=1, seconds=9))


def test_allowance_reads_times_per_seconds() -> None:
    """`10/120` is ten times in 120 seconds."""
    assert Allowance.model_validate("10/120") == Allowance(times=10, seconds=120)


@pytest.mark.parametrize(
    ("url", "doubtful"),
    [("http://pay.example.com", True), ("https://pay.example.com", False), ("http://x.onion", False), ("", False)],
)
def test_what_wallets_will_refuse_is_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch, url: str, *, doubtful: bool
) -> None:
    """A public URL over plain http is said to keep wallets from paying, except where it is fit for tests or Tor."""
    settings = from_environment(monkeypatch, CONNECTION_STRING=STRING, PUBLIC_URL=url)
    assert bool(settings.doubts) is doubtful
