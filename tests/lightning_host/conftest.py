"""Fixtures for tests of the host."""

from __future__ import annotations

from contextlib import AsyncExitStack, nullcontext
from typing import TYPE_CHECKING

import pytest

from tests.lightning_host.fake_driver import FakeNode
from tests.lightning_host.hosts import HostBench
from tests.lightning_host.lnbits import lnbits_being_installed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _lnbits_in_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have LNbits installed while other tests run, if tests that need it are to run, too."""
    needed = any(item.path.name == "test_lnbits.py" for item in request.session.items)
    with lnbits_being_installed() if needed else nullcontext():
        yield


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[HostBench]:
    """Give a workbench that starts hosts, and stops them afterwards."""
    async with AsyncExitStack() as stack:
        yield HostBench(stack, tmp_path)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    """Give a node of the fake driver that no other test knows."""
    name = str(tmp_path)
    yield FakeNode.named(name)
    FakeNode.nodes.clear()  # also those that a test named itself
