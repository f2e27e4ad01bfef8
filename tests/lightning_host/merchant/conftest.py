"""Fixtures for tests of the merchant's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lightning_host.hosts import HostBench


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, hosts: HostBench) -> str:
    """Give the URL of an empty database, of each kind."""
    on_server = request.param == "postgresql"
    return str(request.getfixturevalue("postgres").new_database()) if on_server else hosts.sqlite()
