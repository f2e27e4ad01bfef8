"""The WebSocket transport: the way that an Ory session token opens. Names from here are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.common.lazy import loaded_when_used

if TYPE_CHECKING:
    from flash_driver.transports.websocket.gql_adapter import WebSocketTransport
    from flash_driver.transports.websocket.handshake import Endpoint, Limits

__all__ = ["Endpoint", "Limits", "WebSocketTransport"]

__getattr__ = loaded_when_used(
    __name__,
    {
        "Endpoint": f"{__name__}.handshake",
        "Limits": f"{__name__}.handshake",
        "WebSocketTransport": f"{__name__}.gql_adapter",
    },
)
