"""From `type=flash` to a client: what the entry point `connection_strings.handlers` names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from connection_strings import ConnectionString, LightningClient

__all__ = ["FlashConnectionStringHandler"]


class FlashConnectionStringHandler:
    """Makes Flash clients; opens no connection."""

    type: Final = "flash"

    def create(self, connection_string: ConnectionString) -> LightningClient | None:
        """Make the client that a connection string describes; None when it is of another type.

        Raises:
            ConnectionStringError: A key of the string, or a variable of the environment, is not right.

        """
        if connection_string.type != self.type:
            return None
        from flash_driver.client import FlashLightningClient  # noqa: PLC0415 - a host lists drivers without loading them
        from flash_driver.settings.account import FlashSettings  # noqa: PLC0415 - as above
        from flash_driver.settings.process import ProcessSettings  # noqa: PLC0415 - as above

        settings = FlashSettings.from_connection_string(connection_string)
        return FlashLightningClient(settings, ProcessSettings.from_environment())

    async def aclose(self) -> None:
        """Close now what lingers on the running event loop after its last client was closed."""
        from flash_driver.accounts.pool import shared_pool  # noqa: PLC0415 - as above

        await shared_pool.aclose()
