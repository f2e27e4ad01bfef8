"""What can be set, and where it comes from."""

from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.settings.account import ALIASES, KEYS, DescriptionHashPolicy, FlashSettings, TokenKind
from flash_driver.settings.process import ProcessSettings

__all__ = ["ALIASES", "KEYS", "DescriptionHashPolicy", "FlashSettings", "InvoiceBudget", "ProcessSettings", "TokenKind"]
