from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

import pytest

from flash_driver.cli.app import run
from flash_driver.cli.journals import where_invoices_are_known, where_payments_are_known
from flash_driver.cli.values import shown_time
from flash_driver.common.clocks import utc_now
from flash_driver.flash_api.replies import AccountReply, Wallet
from flash_driver.journal.learned import Learned, LearnedWay, Standing
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import NOON, a_payment, an_invoice, open_journal, settle

if TYPE_CHECKING:
    from pathlib import Path

OLD = Learned(
    AccountReply("", "one", (Wallet("one", "USD"), Wallet("two", "BTC", is_external=True)), "mainnet", price=None),
    NOON,
    {"websocket": LearnedWay(Standing.DECLINES, NOON), "http": LearnedWay(Standing.WORKS, NOON)},
    slow_at=NOON,
)
"""What a server showed more than a day ago."""


def test_forgetful_journal_is_named() -> None:
    """With a journal in memory every command starts without a past: that is said, and what to set."""
    assert "FLASH_JOURNAL_URL is memory:" in where_invoices_are_known()
    assert "FLASH_JOURNAL_URL is memory:" in where_payments_are_known()


def test_lasting_journal_is_named_without_its_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a lasting journal the place of the journal is told, never a password."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", f"sqlite+aiosqlite:///{tmp_path}/j.db")
    assert f"{tmp_path}/j.db" in where_invoices_are_known()
    monkeypatch.setenv("FLASH_JOURNAL_URL", "postgresql+asyncpg://me:hunter2@127.0.0.1/shop")
    told = where_invoices_are_known() + where_payments_are_known()
    assert "hunter2" not in told
    assert told.count("set FLASH_JOURNAL_URL to it") == 2
    assert "look into the Flash app before paying again" in told


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give a journal in a file with an old unpaid invoice, a settled one and an attempt to pay."""
    text = f"sqlite+aiosqlite:///{tmp_path / 'j.db'}"
    monkeypatch.setenv("FLASH_JOURNAL_URL", text)

    async def fill() -> None:
        async with aclosing(SqlStore(JournalUrl.parse(text))) as store:
            journal = await open_journal(store, "fingerprint", "old.example/graphql account")
            for number in (1, 2):
                await journal.add_invoice(an_invoice(number))
            await settle(journal, 1)
            await journal.begin_payment(a_payment(3))

    asyncio.run(fill())
    return tmp_path / "j.db"


def test_shows_exports_and_checks(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is kept of each account is told, each row can be read out, and a damaged one is named."""
    assert run(["journal", "show", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] > 0
    (account,) = told["accounts"]
    assert (account["server"], account["invoices"], account["settled"]) == ("old.example/graphql", 2, 1)
    assert run(["journal", "show"]) == 0
    assert "2 invoices (1 settled, 0 orphans)" in capsys.readouterr().out
    assert run(["journal", "export", "invoices"]) == 0
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == ["paid", "unpaid"]
    assert run(["journal", "export", "payments", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run(["journal", "export", "secrets"]) == 2
    assert run(["journal", "check"]) == 0
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute("UPDATE flash_payments SET status = 'nonsense'")
    capsys.readouterr()
    assert run(["journal", "check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged"] == {"invoices": [], "payments": [1]}


def test_shows_what_was_learned_of_the_server(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wallets and ways are told for each token with their age, also what is not used any more; no token is named."""
    now = utc_now()
    ways = {"websocket": LearnedWay(Standing.FAILS, NOON), "http": LearnedWay(Standing.WORKS, now)}
    recent = Learned(AccountReply("", "one", (Wallet("one", "USD"),), None, price=None), now, ways)

    async def learn() -> None:
        async with aclosing(SqlStore(JournalUrl.parse(f"sqlite:///{kept}"))) as store:
            for token, learned in (("fingerprint", OLD), ("second token", recent), ("third token", None)):
                journal = await open_journal(store, token, "old.example/graphql account")
                if learned is not None:
                    await journal.owner.learn(learned)

    asyncio.run(learn())
    assert run(["journal", "show"]) == 0
    shown = capsys.readouterr().out
    assert shown.partition("attempts to pay\n")[2].splitlines() == [
        f"  what the server showed to one token, {shown_time(now)}:",
        "    wallet one: USD, the default",
        "    network: not told",
        f"    http carries requests out, {shown_time(now)}",
        "    websocket refused the token or did not get through, 2026-05-17 12:00:00 UTC (too old to be used)",
        "  what the server showed to one token, 2026-05-17 12:00:00 UTC (too old to be used):",
        "    wallet one: USD, the default",
        "    wallet two: BTC, external",
        "    network: mainnet",
        "    http carries requests out, 2026-05-17 12:00:00 UTC (too old to be used)",
        "    websocket declines requests, 2026-05-17 12:00:00 UTC (too old to be used)",
        "    the WebSocket was slow to connect, 2026-05-17 12:00:00 UTC (too old to be used)",
    ]
    assert run(["journal", "show", "--json"]) == 0
    told = capsys.readouterr().out
    latest, earlier = json.loads(told)["accounts"][0]["learned"]
    assert earlier == {
        "seen_at": "2026-05-17T12:00:00Z",
        "default_wallet": "one",
        "wallets": [
            {"id": "one", "currency": "USD", "external": False},
            {"id": "two", "currency": "BTC", "external": True},
        ],
        "network": "mainnet",
        "ways": {
            "http": {"standing": "works", "seen_at": "2026-05-17T12:00:00Z"},
            "websocket": {"standing": "declines", "seen_at": "2026-05-17T12:00:00Z"},
        },
        "slow_handshake_at": "2026-05-17T12:00:00Z",
    }
    assert (latest["network"], latest["slow_handshake_at"]) == (None, None)
    assert "fingerprint" not in shown + told
    assert "token" not in told


def test_prunes_copies_and_renames(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was never paid is deleted on request, a copy is made beside, and a server gets its new name."""
    copy = kept.with_name("copy.db")
    assert run(["journal", "backup", str(copy)]) == 0
    assert copy.stat().st_size > 0
    assert run(["journal", "backup", str(copy)]) == 2
    assert run(["journal", "prune", "1"]) == 2
    assert run(["journal", "prune", "3"]) == 0
    assert "1 invoices that were never paid are deleted" in capsys.readouterr().out
    assert run(["journal", "rename-server", "old.example/graphql", "new.example/graphql"]) == 0
    assert run(["journal", "rename-server", "old.example/graphql", "new.example/graphql"]) == 1
    assert "the journal has no account of that server" in capsys.readouterr().err


@pytest.mark.parametrize(
    "case",
    [
        ("j.db", "away/copy.db", "away/copy.db can't be made (no such file or directory)"),
        ("j.db", "j.db", "j.db can't be made (file exists)"),
        ("other.db", "copy.db", "other.db is not there: FLASH_JOURNAL_URL must name the file of a journal"),
        ("text.db", "copy.db", "text.db can't be copied: file is not a database"),
    ],
)
def test_a_copy_that_cannot_be_made(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: tuple[str, str, str]
) -> None:
    """One sentence says which file it is about, and no file is left behind."""
    journal, target, told = case
    kept.with_name("text.db").write_text("no database " * 100)
    monkeypatch.setenv("FLASH_JOURNAL_URL", f"sqlite:///{kept.with_name(journal)}")
    there = sorted(kept.parent.glob("*.db"))
    assert run(["journal", "backup", str(kept.parent / target)]) in (1, 2)
    assert told in capsys.readouterr().err
    assert sorted(kept.parent.glob("*.db")) == there


def test_a_misspelt_variable_is_told(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands on the journal say which variable was probably meant: else they would look into another journal."""
    monkeypatch.setenv("FLASH_JOURNAL_UR", f"sqlite:///{kept}")
    assert run(["journal", "show"]) == 0
    assert "FLASH_JOURNAL_UR; did you mean FLASH_JOURNAL_URL?" in capsys.readouterr().err


def test_a_journal_in_memory_has_nothing_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    """With a journal that forgets there is nothing to show, which is said."""
    assert run(["journal", "show"]) == 2
    assert "FLASH_JOURNAL_URL is memory:" in capsys.readouterr().err
