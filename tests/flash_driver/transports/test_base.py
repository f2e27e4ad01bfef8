from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.settings.account import FlashSettings
from flash_driver.transports.gql_client import GraphQLTransport
from flash_driver.transports.http import HttpTransport
from flash_driver.transports.public import PublicTransport
from flash_driver.transports.session import Session
from flash_driver.transports.websocket.handshake import Endpoint
from flash_driver.transports.websocket.transport import SocketTransport

if TYPE_CHECKING:
    from flash_driver.transports.base import Transport


async def test_every_transport_is_one() -> None:
    """The four transports offer what the router needs, under the names of the connection string."""
    ways: list[Transport] = [
        SocketTransport(Endpoint("ws://x/", {}, {})),
        HttpTransport("http://x/", {}),
        GraphQLTransport("http://x/", {}),
        PublicTransport(HttpTransport("http://x/", {}), Session()),
    ]
    assert tuple(way.name for way in ways) == FlashSettings.model_fields["transports"].default
    for way in ways:
        await way.aclose()
