"""The journal: whether what is made can be remembered, which comes before making anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flash_driver.doctor.findings import Trouble
from flash_driver.journal.errors import JournalError
from flash_driver.settings.process import ProcessSettings

if TYPE_CHECKING:
    from flash_driver.doctor.findings import Examination
    from flash_driver.journal.urls import JournalUrl

__all__ = ["check_journal"]

_SLOW: Final = "check the journal's disk or database server"
_FORGETS: Final = "right for a test; for a shop let FLASH_JOURNAL_URL name a file or database, or leave it unset"


async def check_journal(examination: Examination) -> bool:
    """Open the journal, and change nothing in it; returns whether it could be used. Shows no password."""
    async with examination.check("journal", if_late=_SLOW) as row:
        journal = ProcessSettings.from_environment().journal_url
        if journal.forgets:
            row.found, row.advice = f"{journal}, which forgets when the process ends", _FORGETS
        else:
            row.found = f"{journal}: {await _state(journal)}"
    return row.passed


async def _state(journal: JournalUrl) -> str:
    # Needs a database library, which takes a while to load.
    from flash_driver.journal.sql.inspection import inspect_journal  # noqa: PLC0415 - see above
    from flash_driver.journal.sql.migrations import NEWEST  # noqa: PLC0415 - as above

    try:
        found = await inspect_journal(journal)
    except JournalError as error:
        raise Trouble(f"{error.journal} {error.reason}", error.remedy) from None
    if found == 0:
        return "nothing there yet, made when it is first needed"
    return f"schema version {found}" if found == NEWEST else f"schema version {found}, {NEWEST} from its next use on"
