"""What a server showed to a credential, as the journal keeps it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from flash_driver.flash_api.replies import AccountReply, Wallet
from flash_driver.journal.learned import Learned, LearnedWay, Standing, read_learned, write_learned
from flash_driver.journal.sql.copying import copy_journal
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import NOON, open_journal

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = AccountReply(
    "", "one", (Wallet("one", "USD"), Wallet("two", "USDT", is_external=True)), "mainnet", price=None
)
DECLINED = LearnedWay(Standing.DECLINES, NOON - timedelta(hours=23))
LEARNED = Learned(ACCOUNT, NOON, {"websocket": DECLINED}, slow_at=NOON - timedelta(hours=23))


async def test_it_is_kept_for_the_credential_until_that_opens_another_account(durable_url: JournalUrl) -> None:
    """In either database it is read back by the next process; another credential of the account knows nothing."""
    async with aclosing(SqlStore(durable_url)) as store:
        journal = await open_journal(store)
        assert await journal.owner.recall() is None
        await journal.owner.learn(LEARNED)
    async with aclosing(SqlStore(durable_url)) as store:
        assert await (await open_journal(store, scope=None)).owner.recall() == LEARNED
        assert await (await open_journal(store, "another token")).owner.recall() is None
        moved = await open_journal(store, scope="server other")
        assert await moved.owner.recall() is None


async def test_a_journal_is_copied_with_it(durable_url: JournalUrl, tmp_path: Path) -> None:
    """A process that goes on in another database knows as much as before."""
    target = JournalUrl.parse(f"sqlite:///{tmp_path / 'copy.db'}")
    async with aclosing(SqlStore(durable_url)) as store:
        await (await open_journal(store)).owner.learn(LEARNED)
    await asyncio.to_thread(copy_journal, durable_url, target)
    async with aclosing(SqlStore(target)) as store:
        assert await (await open_journal(store, scope=None)).owner.recall() == LEARNED


def test_only_what_is_of_the_last_day_is_believed() -> None:
    """Each way has an age of its own; a time to come is no better than one long ago."""
    assert LEARNED.at_present(NOON) == LEARNED
    later = LEARNED.at_present(NOON + timedelta(hours=2))
    assert later is not None
    assert (later.account, later.ways, later.slow_at) == (ACCOUNT, {}, None)
    assert LEARNED.at_present(NOON + timedelta(hours=25)) is None
    assert LEARNED.at_present(NOON - timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"default": "one", "wallets": 1, "network": null, "at": "2026-05-17T12:00:00+00:00", "ways": {}}',
        '{"default": "one", "wallets": [], "network": null, "at": "2026-05-17T12:00:00", "slow": null, "ways": {}}',
        '{"default": "one", "wallets": [], "network": null, "at": 5, "slow": null, "ways": {}}',
        (
            '{"default": "one", "wallets": [], "network": null, "at": "2026-05-17T12:00:00+00:00", "slow": null,'
            ' "ways": {"http": "x"}}'
        ),
    ],
)
def test_what_can_not_be_read_is_as_if_it_were_not_there(text: str | None) -> None:
    """It costs a question, never an error."""
    assert read_learned(text) is None


def test_a_token_is_never_kept() -> None:
    """A server that gives the token for the id of a wallet is not remembered at all."""
    assert write_learned(LEARNED) is not None
    assert write_learned(replace(LEARNED, account=replace(ACCOUNT, default_wallet_id="ory_st_" + "a" * 32))) is None
