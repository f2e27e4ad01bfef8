"""A journal finds out whose it is."""

from __future__ import annotations

import asyncio

import pytest

from connection_strings import BackendUnavailable
from flash_driver.journal.errors import JournalError
from flash_driver.journal.memory import MemoryJournal, MemoryStore
from flash_driver.journal.owner import JournalAccount, JournalOwner
from flash_driver.journal.wakeup import News, Wakeup
from tests.support.journals import an_invoice, settle
from tests.support.logs import recorded


class Server:
    """Says whose account it is, and counts how often it was asked."""

    def __init__(self, account: str | None = "account") -> None:
        self.account = account
        self.asked = 0
        self.journal: MemoryJournal | None = None

    async def look_up(self) -> None:
        """Answer as the driver does: by telling the journal."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.journal is not None and self.account is not None:
            self.journal.owner.belongs_to(self.account)


def opening(store: MemoryStore, server: Server, fingerprint: str = "fingerprint") -> MemoryJournal:
    """Make a journal that asks this server."""
    server.journal = store.journal(fingerprint, server.look_up)
    return server.journal


async def test_the_server_is_asked_once() -> None:
    """The first who needs the account asks, others that come meanwhile wait for the answer, and later it is known."""
    store, server = MemoryStore(), Server()
    journal = opening(store, server)
    await asyncio.gather(*(journal.last_settle_index() for _ in range(5)))
    assert server.asked == 1
    again = opening(store, server)
    await again.add_invoice(an_invoice(1))
    assert (server.asked, await journal.list_invoices()) == (1, [an_invoice(1)])
    assert again.id == journal.id


async def test_what_the_server_said_before_is_used() -> None:
    """When the account was looked up for another reason, nobody asks again."""
    server = Server()
    journal = opening(MemoryStore(), server)
    journal.owner.belongs_to("account")
    await journal.last_settle_index()
    assert server.asked == 0


async def test_while_the_account_is_unknown_nothing_is_kept() -> None:
    """A server that can't be asked is the caller's error, and the next call asks again."""

    async def fail() -> None:
        raise BackendUnavailable("looking up the account", {"http": "refused"})

    journal = MemoryStore().journal("fingerprint", fail)
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await journal.add_invoice(an_invoice(1))
    journal.owner.belongs_to("account")
    assert await journal.list_invoices() == []


async def test_a_server_that_does_not_tell() -> None:
    """Without an account there is no journal, and that is said."""
    journal = opening(MemoryStore(), Server(None))
    with pytest.raises(JournalError, match="the server does not tell whose account this is"):
        await journal.last_settle_index()
    with pytest.raises(JournalError, match="is not open yet"):
        _ = journal.id


async def test_a_token_that_turns_out_to_be_anothers() -> None:
    """When the server names another account than the one remembered, that one's journal is used from then on."""
    store, server = MemoryStore(), Server()
    await opening(store, server).add_invoice(an_invoice(1))
    journal = opening(store, server)
    first = await journal.list_invoices(), journal.id
    journal.owner.belongs_to("another account")
    assert await journal.list_invoices() == []
    assert first == ([an_invoice(1)], first[1])
    assert journal.id != first[1]


async def test_whoever_waits_finds_out_that_the_account_is_another() -> None:
    """Who waits for the old journal is woken, and the new one's place is kept: nothing settled later is missed."""
    store, server = MemoryStore(), Server("another account")
    other = opening(store, server, "their token")
    await other.add_invoice(an_invoice(1))
    await settle(other, 1)
    journal = opening(store, Server())
    await journal.last_settle_index()
    with journal.news.settled.waiting() as woken, recorded() as story:
        journal.owner.belongs_to("another account")
        await journal.list_invoices()
        async with asyncio.timeout(40):
            await woken
    assert journal.owner.begins_at == 1
    assert [entry["log_level"] for entry in story.entries] == ["warning"]


async def test_an_open_journal_stays_at_hand_when_the_account_is_told() -> None:
    """A listener that waits needs id and news at any moment: the old ones are there until the new journal is open."""
    store, server = MemoryStore(), Server()
    await opening(store, server).add_invoice(an_invoice(1))
    journal = opening(store, server)
    await journal.list_invoices()
    before = journal.id, journal.news
    journal.owner.belongs_to("account")
    assert (journal.id, journal.news) == before
    journal.owner.belongs_to("another account")
    assert (journal.id, journal.news) == before
    assert await journal.list_invoices() == []
    assert journal.id != before[0]


async def test_whoever_waits_for_anothers_attempt_shares_how_it_ends() -> None:
    """A server that can't be asked costs everybody one attempt's time, not the attempts of all before him too."""
    asked = 0
    go_on = asyncio.Event()

    async def fail() -> None:
        nonlocal asked
        asked += 1
        await go_on.wait()
        raise BackendUnavailable("looking up the account", {"http": "refused"})

    journal = MemoryStore().journal("fingerprint", fail)
    waiting = [asyncio.create_task(journal.last_settle_index()) for _ in range(3)]
    while not asked:  # noqa: ASYNC110 - the first attempt has begun
        await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(20):
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [BackendUnavailable] * 3
    assert asked == 1


async def test_closing_ends_an_attempt_to_open() -> None:
    """Nothing of an attempt is left behind, and those who wait for it hear an error, not a cancellation."""
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    journal = MemoryStore().journal("fingerprint", hang)
    waiting, cancelled = (asyncio.create_task(journal.last_settle_index()) for _ in range(2))
    async with asyncio.timeout(20):
        await began.wait()
        cancelled.cancel()
        await journal.owner.aclose()
        with pytest.raises(JournalError, match="was closed"):
            await waiting
        with pytest.raises(asyncio.CancelledError):
            await cancelled


async def test_told_while_it_is_being_opened() -> None:
    """What the server says while the journal is being opened counts."""
    accounts = {None: JournalAccount(1, "first", 0, _news()), "another": JournalAccount(2, "second", 0, _news())}

    async def find(scope: str | None) -> JournalAccount:
        if scope is None:
            owner.belongs_to("another")
        return accounts[scope]

    owner = JournalOwner(find, Server().look_up)
    assert (await owner.account()).number == 2


def _news() -> News:
    return News(made=Wakeup(), settled=Wakeup())
