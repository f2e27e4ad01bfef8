"""What one process leaves behind for the next: the wallets of the account, and which way carries requests."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.journal.learned import Learned, LearnedWay

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flash_driver.common.deadline import Deadline
    from flash_driver.journal.owner import JournalOwner
    from flash_driver.transports.capabilities import Capabilities
    from flash_driver.wallets import KnownAccount

__all__ = ["Knowledge"]

_KEPT_AGAIN_AFTER: Final = timedelta(hours=1)
"""How old what is kept becomes before the same is kept again."""
_MOST_SECONDS: Final = 1.0
"""How long an invoice that is made waits for this to be kept: it does without."""

_log: Final = get_logger()


class Knowledge:
    """Reads what the last process learned of the server, once, and keeps what this one has learned.

    Args:
        owner: The journal's account, where it is kept.
        known: What the server last said of the account.
        capabilities: What is known of the ways.
        clock: The wall clock, which all processes share.

    """

    def __init__(
        self,
        owner: JournalOwner,
        known: KnownAccount,
        capabilities: Capabilities,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._owner = owner
        self._known = known
        self._capabilities = capabilities
        self._clock = clock
        self._kept: Learned | None = None
        self._recalled = False

    async def recall(self) -> None:
        """Take in what the journal keeps, if the server has not been asked yet.

        Raises:
            JournalError: The journal can't be used now.

        """
        if self._is_too_late():
            return
        found = await self._owner.recall()
        kept = None if found is None else found.at_present(self._clock())
        if self._is_too_late():
            return
        self._recalled = True
        if kept is not None:
            self._kept, self._known.believed = kept, kept.account
            standings = {name: way.standing for name, way in kept.ways.items()}
            self._capabilities.recall(standings, slow_handshake=kept.slow_at is not None)

    def _is_too_late(self) -> bool:
        """Whether it was recalled, or the server has been asked by now."""
        return self._recalled or self._known.reply is not None

    async def keep(self, deadline: Deadline) -> None:
        """Keep for the next process what the server has shown, where that is new or was kept long ago.

        Args:
            deadline: When to do without.

        """
        now, kept = self._clock(), self._kept
        account = self._known.reply
        if account is None:
            return
        found = {name: LearnedWay(standing, now) for name, standing in self._capabilities.found.items()}
        ways = {**({} if kept is None else kept.ways), **found}
        slow_at = now if self._capabilities.slow_handshake else None
        if self._capabilities.slow_handshake is None and kept is not None:
            slow_at = kept.slow_at
        learned = Learned(account, self._known.looked_up_at, ways, slow_at)
        known = kept is not None and now - kept.at < _KEPT_AGAIN_AFTER and learned.says_the_same_as(kept)
        if known or deadline.passed:
            return
        self._kept = learned
        try:
            async with asyncio.timeout_at(deadline.at_most(_MOST_SECONDS).at):
                await self._owner.learn(learned)
        except (LightningError, TimeoutError) as error:
            _log.debug("what was learned of the server is not kept", why=str(error))
