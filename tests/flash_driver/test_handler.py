"""From `type=flash` to a client, as a host does it."""

from __future__ import annotations

import pytest

import flash_driver
from connection_strings import (
    ConnectionString,
    ConnectionStringError,
    LightningClient,
    LightningClientFactory,
    UnknownConnectionType,
)
from flash_driver.handler import FlashConnectionStringHandler


def test_installed_driver_is_found() -> None:
    """The entry point of the distribution makes `type=flash` known to every factory."""
    assert "flash" in LightningClientFactory().types
    client = LightningClientFactory().create("type=flash;token=ory_st_x")
    assert isinstance(client, LightningClient)


def test_client_shows_its_server_only() -> None:
    """A client's repr names the server and nothing secret."""
    client = LightningClientFactory().create("TYPE=Flash;Token=ory_st_Canary")
    assert repr(client) == "<FlashLightningClient server='https://api.flashapp.me/graphql'>"


def test_creating_a_client_needs_no_event_loop() -> None:
    """A host may make its clients while it starts, before any loop runs."""
    assert FlashConnectionStringHandler().create(ConnectionString.parse("type=flash;token=t")) is not None


def test_other_types_are_not_mine() -> None:
    """A string of another type is left to others."""
    assert FlashConnectionStringHandler().create(ConnectionString.parse("type=lnd;server=x")) is None


def test_unknown_type_lists_flash() -> None:
    """Who asks for a driver that is not installed learns of the one that is."""
    with pytest.raises(UnknownConnectionType, match="installed: flash"):
        LightningClientFactory().create("type=clightning;server=unix://x")


def test_refusal_comes_through_the_factory() -> None:
    """What the driver refuses, the factory reports in the driver's words."""
    with pytest.raises(ConnectionStringError, match="the key 'server' is not encrypted"):
        LightningClientFactory().create("type=flash;server=http://h/graphql;token=t")


def test_bad_environment_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad FLASH_ variable is found when the client is made, not with the first invoice."""
    monkeypatch.setenv("FLASH_INVOICE_BUDGET", "many")
    with pytest.raises(ConnectionStringError, match="FLASH_INVOICE_BUDGET"):
        LightningClientFactory().create("type=flash;token=t")


def test_the_package_lists_what_it_shows() -> None:
    """`dir` names what can be imported from the package, loaded or not, so that a shell and an IDE complete it."""
    assert set(flash_driver.__all__) <= set(dir(flash_driver))
    assert all(getattr(flash_driver, name) is not None for name in flash_driver.__all__)
