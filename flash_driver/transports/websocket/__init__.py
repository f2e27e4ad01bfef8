"""The WebSocket transport: the way that an Ory session token opens."""

from flash_driver.transports.websocket.handshake import Endpoint
from flash_driver.transports.websocket.transport import WebSocketTransport

__all__ = ["Endpoint", "WebSocketTransport"]
