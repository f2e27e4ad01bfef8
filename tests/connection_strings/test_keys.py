from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connection_strings import ConnectionString, ConnectionStringError, canonical_values

ALLOWED = ("server", "token", "wallet-id", "currency")
ALIASES = {"api": "server", "api-token": "token"}


def _read(text: str) -> dict[str, str]:
    return canonical_values(ConnectionString.parse(text), ALLOWED, ALIASES)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("type=flash", {}),
        ("type=flash;server=s;token=t", {"server": "s", "token": "t"}),
        ("type=flash;api=s;API-Token=t", {"server": "s", "token": "t"}),
        ("type=flash;api=s;token=t", {"server": "s", "token": "t"}),
        ("type=flash;token=", {"token": ""}),
    ],
)
def test_values_under_the_names_of_the_driver(text: str, values: dict[str, str]) -> None:
    """Keys keep their name, aliases get the name that they stand for; what is not given is not there."""
    assert _read(text) == values


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("type=flash;tokn=t", "tokn", "the key 'tokn' is unknown to type=flash; did you mean token? (at character 12)"),
        (
            "type=flash; Wallet_ID=w",
            "wallet_id",
            "the key 'wallet_id' is unknown to type=flash; did you mean wallet-id? (at character 13)",
        ),
        (
            "type=flash;apitoken=t",
            "apitoken",
            "the key 'apitoken' is unknown to type=flash; did you mean api-token? (at character 12)",
        ),
        (
            "type=flash;macaroon=m",
            "macaroon",
            "the key 'macaroon' is unknown to type=flash; known: currency, server, token, wallet-id (at character 12)",
        ),
        (
            "type=flash;server=s;api=a",
            "server",
            "the keys 'api' and 'server' mean the same; give one of them (at character 12)",
        ),
        (
            "type=flash;token=same;api-token=same",
            "token",
            "the keys 'api-token' and 'token' mean the same; give one of them (at character 12)",
        ),
    ],
)
def test_refused(text: str, key: str, message: str) -> None:
    """An unknown key gets a suggestion or the list of keys, a key under two names is refused: by name and place."""
    with pytest.raises(ConnectionStringError) as caught:
        _read(text)

    assert (key, message) == (caught.value.key, str(caught.value))


def test_no_position_without_a_text() -> None:
    """A string that was built from parts has no positions to tell."""
    with pytest.raises(ConnectionStringError) as caught:
        canonical_values(ConnectionString("flash", {"tokn": "t"}), ALLOWED, ALIASES)

    assert str(caught.value) == "the key 'tokn' is unknown to type=flash; did you mean token?"


@given(key=st.from_regex(r"[a-z]{1,12}", fullmatch=True).filter(lambda key: key != "type"))
def test_no_value_in_any_message(key: str) -> None:
    """Whatever the key, the message holds no value."""
    try:
        canonical_values(ConnectionString("flash", {key: "CANARY", "api": "CANARY"}), ALLOWED, ALIASES)
    except ConnectionStringError as error:
        assert "CANARY" not in f"{error}{error!r}{vars(error)}"  # noqa: PT017 - a known key raises nothing
