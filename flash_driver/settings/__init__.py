"""What can be set, and where it comes from. Names from here are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.common.lazy import loaded_when_used

if TYPE_CHECKING:
    from flash_driver.journal.budget_rules import InvoiceBudget
    from flash_driver.settings.account import ALIASES, KEYS, FlashSettings
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.settings.values import DescriptionHashPolicy, TokenKind

__all__ = ["ALIASES", "KEYS", "DescriptionHashPolicy", "FlashSettings", "InvoiceBudget", "ProcessSettings", "TokenKind"]

__getattr__ = loaded_when_used(
    __name__,
    {
        "ALIASES": f"{__name__}.account",
        "KEYS": f"{__name__}.account",
        "DescriptionHashPolicy": f"{__name__}.values",
        "FlashSettings": f"{__name__}.account",
        "InvoiceBudget": "flash_driver.journal.budget_rules",
        "ProcessSettings": f"{__name__}.process",
        "TokenKind": f"{__name__}.values",
    },
)
