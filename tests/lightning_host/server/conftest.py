"""Which event loops the tests of the server run on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

_ASYNCIO: Final = {"asyncio": asyncio.new_event_loop}
_BOTH: Final = {**_ASYNCIO, "uvloop": uvloop.new_event_loop}
_OF_SOCKETS: Final = ("test_connections.py", "test_event_loop.py")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is about sockets on both kinds of event loop; called by pytest-asyncio."""
    return _BOTH if item.path.name in _OF_SOCKETS else _ASYNCIO
