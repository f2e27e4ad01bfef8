"""What a person has to know of the journal: it is the memory that one command has of another."""

from __future__ import annotations

from flash_driver.settings.process import ProcessSettings

__all__ = ["where_invoices_are_known", "where_payments_are_known"]


def where_invoices_are_known() -> str:
    """Say which invoices can be looked up here, and what to do about others; shows no password."""
    journal = ProcessSettings.from_environment().journal_url
    if journal.forgets:
        return "FLASH_JOURNAL_URL is memory:, which forgets with each command; name a file or database there"
    return f"{journal} knows what was made with it; if that was another one, set FLASH_JOURNAL_URL to it"


def where_payments_are_known() -> str:
    """Say the same about payments, where not knowing must not be taken for not having paid."""
    journal = ProcessSettings.from_environment().journal_url
    why = f"{journal} knows what was paid with it; if that was another one, set FLASH_JOURNAL_URL to it"
    if journal.forgets:
        why = "FLASH_JOURNAL_URL is memory:, which forgets with each command"
    return f"that is no proof that nothing was paid: look into the Flash app before paying again ({why})"
