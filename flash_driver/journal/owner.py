"""Whose journal it is: found out when the journal is first used, and again when the server names another account."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flash_driver.common.log import get_logger
from flash_driver.common.masking import mask_tokens
from flash_driver.common.tasks import SharedAttempt
from flash_driver.journal.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flash_driver.journal.learned import Learned
    from flash_driver.journal.wakeup import News

__all__ = ["JournalAccount", "JournalOwner", "account_scope"]

_log: Final = get_logger(part="journal")


_STANDARD_PORTS: Final = {"https": 443, "http": 80}


def account_scope(server: str, account_id: str) -> str:
    """Return what tells an account from those of every server: its server's name, a blank, and its id there.

    An id alone would let a second server claim the account of a first one. A server is the same under http and https;
    under another host name, port or path it is another one, until `flash-driver journal rename-server` says otherwise.

    Args:
        server: The checked URL of the server.
        account_id: The id that the server gave.

    """
    parts = urlsplit(server)
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    port = "" if parts.port in (None, _STANDARD_PORTS.get(parts.scheme)) else f":{parts.port}"
    # A server may give the token for an id, and this is written down.
    known_as = account_id if mask_tokens(account_id) == account_id else sha256(account_id.encode()).hexdigest()
    return f"{host}{port}{parts.path} {known_as}"


@dataclass(frozen=True, slots=True)
class JournalAccount:
    """An account as its store knows it.

    Attributes:
        number: Its number in the store.
        journal_id: What tells its journal from any other, so that a cursor of one is not used on another.
        last_settle_index: Where its settlements stood when it was looked up.
        news: Wakes who waits for its invoices to be made or settled.
        learned: What the server showed to the credential when it was last asked; None where nothing is kept.

    """

    number: int
    journal_id: str
    last_settle_index: int
    news: News
    learned: Learned | None = None


class JournalOwner:
    """The account that a credential opens.

    Args:
        find: Looks it up in the store by what the server said (None: by the credential alone); None where the store
            does not know it yet.
        look_up: Asks the server whose account the credential opens, and tells `belongs_to`.
        keep: Keeps for an account what the server showed to the credential; None where nothing outlives the process.

    Attributes:
        current: The account, None until it is looked up, and while another one is.
        known: The account as it was looked up last, None before the first time; it stays while
            another one is being looked up.
        begins_at: The settle index that the present journal stood at when it took the place of another account's.

    """

    def __init__(
        self,
        find: Callable[[str | None], Awaitable[JournalAccount | None]],
        look_up: Callable[[], Awaitable[None]],
        keep: Callable[[JournalAccount, Learned], Awaitable[None]] | None = None,
    ) -> None:
        self._find = find
        self._look_up = look_up
        self._keep = keep
        self._scope: str | None = None
        self._finding = SharedAttempt(self._ask, "journal opening", closed=_was_closed)
        self.current: JournalAccount | None = None
        self.known: JournalAccount | None = None
        self.begins_at = 0

    def belongs_to(self, scope: str) -> None:
        """Take note of what the server said whose account this is."""
        if scope != self._scope:
            self._scope, self.current = scope, None

    async def account(self) -> JournalAccount:
        """Return the account; all who ask while it is being looked up share the attempt.

        Raises:
            JournalError: The journal can't be used now.
            LightningError: The account can't be looked up now.

        """
        return self.current or await self._finding.result()

    async def recall(self) -> Learned | None:
        """Return what the journal keeps of the server; asks the store only, never the server.

        Raises:
            JournalError: The journal can't be used now.

        """
        account = None if self._keep is None else await self._in_store()
        return None if account is None else account.learned

    async def learn(self, learned: Learned) -> None:
        """Keep what the server showed to the credential, for the next process.

        Raises:
            JournalError: The journal can't be used now.
            LightningError: The account can't be looked up now.

        """
        if self._keep is not None:
            await self._keep(await self.account(), learned)

    async def aclose(self) -> None:
        """End the attempt to look it up, if there is one."""
        await self._finding.aclose()

    async def _ask(self) -> JournalAccount:
        account = await self._in_store()
        if account is None:
            await self._look_up()
            account = await self._in_store()
        if account is None:
            raise JournalError("the journal", "can't be opened", "the server does not tell whose account this is")
        return account

    async def _in_store(self) -> JournalAccount | None:
        """Look it up in the store as far as it is known; again when the server told meanwhile."""
        while self.current is None:
            scope = self._scope
            account = await self._find(scope)
            if scope == self._scope:
                if account is None:
                    return None
                self._replace_by(account)
        return self.current

    def _replace_by(self, account: JournalAccount) -> None:
        """Use this account from now on; who waits for news of the one before has to find out."""
        before = self.known
        if before is not None and before.journal_id != account.journal_id:
            _log.warning("the token opens another account now; its invoices and payments are kept apart")
            self.begins_at = account.last_settle_index
        self.known = self.current = account
        if before is not None:
            before.news.wake()


def _was_closed() -> JournalError:
    return JournalError("the journal", "was closed", "ask again")
