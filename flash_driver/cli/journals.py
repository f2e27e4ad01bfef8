"""What a person has to know of the journal: it is the memory that one command has of another."""

from __future__ import annotations

from flash_driver.settings import ProcessSettings

__all__ = ["where_invoices_are_known", "where_payments_are_known"]


def where_invoices_are_known() -> str:
    """Say which invoices can be looked up here, and what to do about others; shows no address."""
    if _forgets():
        return "FLASH_JOURNAL_URL is memory:, which forgets with each command; name a file or database there"
    return "only the process that made it, or one with the same FLASH_JOURNAL_URL, knows an invoice"


def where_payments_are_known() -> str:
    """The same about payments, where not knowing must not be taken for not having paid."""
    return f"that is no proof that nothing was paid: look into the Flash app before paying again ({_which()})"


def _which() -> str:
    if _forgets():
        return "FLASH_JOURNAL_URL is memory:, which forgets with each command"
    return "payments of processes with another FLASH_JOURNAL_URL or token are not known here"


def _forgets() -> bool:
    return ProcessSettings.from_environment().journal_url.forgets
