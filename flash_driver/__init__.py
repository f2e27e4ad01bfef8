"""The Lightning driver for Flash: `type=flash;server=...;token=...` becomes a Lightning client.

Hosts get it through `connection_strings.LightningClientFactory`. Names from here are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver._version import __version__
from flash_driver.common.lazy import loaded_when_used

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.handler import FlashConnectionStringHandler
    from flash_driver.settings import FlashSettings, ProcessSettings
    from flash_driver.transports.websocket import WebSocketTransport

__all__ = [
    "FlashConnectionStringHandler",
    "FlashLightningClient",
    "FlashSettings",
    "ProcessSettings",
    "WebSocketTransport",
    "__version__",
]

__getattr__ = loaded_when_used(
    __name__,
    {
        "FlashConnectionStringHandler": "flash_driver.handler",
        "FlashLightningClient": "flash_driver.client",
        "FlashSettings": "flash_driver.settings",
        "ProcessSettings": "flash_driver.settings",
        "WebSocketTransport": "flash_driver.transports.websocket",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
