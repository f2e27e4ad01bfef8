"""`DATABASE_URL` as people and providers write it."""

from __future__ import annotations

import json

import pytest

from lightning_host.database.location import read_url
from lightning_host.settings import SettingsError


def told(url: str) -> dict[str, str]:
    """Return what libpq is told."""
    parameters = read_url(url).parameters
    assert parameters is not None
    found = json.loads(parameters.reveal())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
def test_every_spelling_is_the_same_database(scheme: str) -> None:
    """User, password, host, port and database are read, and nothing else is said."""
    expected = {"user": "me", "password": "a@b", "host": "db", "port": "5433", "dbname": "shop"}
    assert told(f"{scheme}://me:a%40b@db:5433/shop") == expected


@pytest.mark.parametrize(
    ("url", "sslmode"),
    [
        ("postgresql://me@db.example/shop", "verify-full"),
        ("postgresql://me@192.0.2.7/shop", "verify-full"),
        ("postgresql://me@db/shop", None),
        ("postgresql://me@127.0.0.1/shop", None),
        ("postgresql://me@/shop?host=/run/postgresql", None),
        ("postgresql://me@db.example/shop?sslmode=require", "require"),
        ("postgresql://me@db.example/shop?ssl=require&connect_timeout=3", "require"),
        ("postgresql://me@db.example/shop?ssl=true", "require"),
    ],
)
def test_servers_that_are_not_near_have_to_prove_who_they_are(url: str, sslmode: str | None) -> None:
    """TLS is verified unless the server is on this machine or in the same network, or the URL says otherwise."""
    assert told(url).get("sslmode") == sslmode


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://me:hunter2@db/shop", "must begin with sqlite:// or postgresql://"),
        ("postgresql://me:hunter2@db", "must name a database"),
        ("postgresql://me:hunter2@db/shop?colour=blue", "with options of libpq only"),
        ("postgresql://me:odd/hunter2@db/shop", "write odd characters of a password as %40"),
        ("postgresql://me:odd@hunter2@db/shop", "write odd characters of a password as %40"),
        ("postgresql://me:odd%hunter2@db/shop", "write odd characters of a password as %40"),
    ],
)
def test_what_is_no_url_is_told_without_showing_it(url: str, words: str) -> None:
    """One clear error that says what to do, and shows nothing of the URL."""
    with pytest.raises(SettingsError) as raised:
        read_url(url)
    assert words in str(raised.value)
    assert not any(part in str(raised.value) for part in ("hunter2", "odd@", "odd/", "odd%", "colour"))
