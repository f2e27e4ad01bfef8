"""The Lightning driver for Flash: `type=flash;server=...;token=...` becomes a Lightning client.

Hosts get it through `connection_strings.LightningClientFactory`. Names from here are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flash_driver._version import __version__

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.handler import FlashConnectionStringHandler
    from flash_driver.settings import FlashSettings, ProcessSettings
    from flash_driver.transports.websocket.transport import WebSocketTransport

__all__ = [
    "FlashConnectionStringHandler",
    "FlashLightningClient",
    "FlashSettings",
    "ProcessSettings",
    "WebSocketTransport",
    "__version__",
]

_HOMES: Final = {
    "FlashConnectionStringHandler": "flash_driver.handler",
    "FlashLightningClient": "flash_driver.client",
    "FlashSettings": "flash_driver.settings",
    "ProcessSettings": "flash_driver.settings",
    "WebSocketTransport": "flash_driver.transports.websocket.transport",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - with the names themselves

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
