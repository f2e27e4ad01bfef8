"""What the host remembers is copied while it runs, and put back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from lightning_host.cli import main
from lightning_host.database import Database
from lightning_host.database.backup import back_up
from lightning_host.flashcards.table import FlashcardTable
from lightning_host.settlements.ledger import SettlementLedger
from tests.lightning_host.hosts import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost


async def test_backup_put_back_goes_on(
    hosts: HostBench, node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy made in use has everything up to then; put back, the host hears again of what was paid since."""
    host = await hosts.host(node)
    for number in range(2):
        _, made = await host.greenfield("POST", "/invoices", {"amount": "1000", "description": f"{number}"})
        if number == 0:
            await node.pay(made["id"])
    await eventually(lambda: _settled(host, 1))
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", hosts.sqlite())
    copy = tmp_path / "backup.sqlite3"
    assert main(["backup", str(copy)]) == 0
    assert copy.stat().st_mode & 0o077 == 0
    await node.pay(made["id"])
    await eventually(lambda: _settled(host, 2))
    await host.stop()
    again = await hosts.host(node, database=hosts.sqlite("backup"))
    await eventually(lambda: _settled(again, 2))


async def _settled(host: RunningHost, count: int) -> bool:
    _, told = await host.get("/metrics")
    return f'lightning_host_settlements_total{{purpose="greenfield",store="shop"}} {count}.0' in told


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///{folder}/nowhere.sqlite3", "there is no database in a file {folder}/nowhere.sqlite3"),
        ("sqlite://", "there is no database in a file"),
        (
            "postgresql://host:secret@db/shop?ssl=require",
            "pg_dump --format=custom --file={folder}/copy 'postgresql://host@db/shop'",
        ),
        ("sqlite:///{folder}/torn", "{folder}/torn can't be copied: file is not a database"),
        ("mysql://x:secret@y/z", "DATABASE_URL must begin with sqlite:// or postgresql://"),
    ],
)
def test_what_can_not_be_copied_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    """One line says why and what to do instead, without a password, status is 2, and no file is left behind."""
    (tmp_path / "torn").write_bytes(b"not a database" * 100)
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", url.format(folder=tmp_path))
    assert main(["backup", str(tmp_path / "copy")]) == 2
    told = capsys.readouterr().err
    assert words.format(folder=tmp_path) in told
    assert told.count("\n") == 1
    assert "secret" not in told
    assert not (tmp_path / "copy").exists()


def test_backup_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is there already stays as it is."""
    for name in ("host.sqlite3", "copy"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", f"sqlite:///{tmp_path}/host.sqlite3")
    assert main(["backup", str(tmp_path / "copy")]) == 2
    assert capsys.readouterr().err == f"lightning-host: {tmp_path}/copy can't be made: File exists\n"


async def test_database_of_yesterday_books_what_it_missed(hosts: HostBench, node: FakeNode, tmp_path: Path) -> None:
    """Put back with a cursor of no use: what was paid since is booked, on a card too, once, however often it starts."""
    host = await hosts.host(node)
    database = await Database.open(hosts.secret())
    card = await FlashcardTable(database).add("shop", "a card")

    async def invoice() -> str:
        week = {"amount": "1000", "description": "", "expiry": 7 * 24 * 3600}
        return str((await host.greenfield("POST", "/invoices", week))[1]["id"])

    before, missed = await invoice(), await invoice()
    await host.get(f"/flashcard-lnurl/{card.address}/callback?amount=2000")
    topped_up = [*node.invoices][-1]
    await node.pay(before)
    await eventually(lambda: _settled(host, 1))
    back_up(hosts.secret(), tmp_path / "yesterday.sqlite3")
    unknown = await invoice()
    for payment_hash in (missed, topped_up, unknown):
        await node.pay(payment_hash)
    await eventually(lambda: _settled(host, 3))
    await host.stop()
    await database.aclose()
    old = await Database.open(hosts.secret("yesterday"))
    for change in (
        "UPDATE host_cursors SET cursor = 'another wallet:7'",
        "UPDATE host_invoices SET created_at = created_at - 3 * 24 * 3600 * 1000",
    ):
        await old.write(partial(_change, statement=change))

    async def booked() -> bool:
        expected = {("shop", "greenfield"): (2, 2_000), ("shop", "flashcard"): (1, 2_000)}
        return await SettlementLedger(old).totals() == expected

    for _ in range(2):
        again = await hosts.host(node, database=hosts.sqlite("yesterday"))
        await eventually(booked)
        await again.stop()
        known = await FlashcardTable(old).find(card.id)
        assert known is not None
        assert known.balance.msat == 2_000
    await old.aclose()


def _change(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))
