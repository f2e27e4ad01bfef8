"""Fixtures for tests of the host's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connection_strings import Secret

if TYPE_CHECKING:
    from tests.lightning_host.hosts import HostBench


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, hosts: HostBench) -> Secret:
    """Give the URL of an empty database, of each kind."""
    on_server = request.param == "postgresql"
    return Secret(request.getfixturevalue("postgres").new_database() if on_server else hosts.sqlite())
