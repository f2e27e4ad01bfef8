"""Moving a journal to another database."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from connection_strings import LightMoney, LightningInvoice, LightningInvoiceStatus, PayResult
from flash_driver.cli.app import run
from flash_driver.journal.errors import JournalError
from flash_driver.journal.sql.copying import copy_journal
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from flash_driver.settings.process import ProcessSettings
from tests.support.journals import an_invoice, engines, open_journal, settle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.driver import Bench
    from tests.support.postgres import PostgresServer

AMOUNT = LightMoney.from_sat(1000)


def a_file(folder: Path, name: str) -> JournalUrl:
    """Return the URL of a file that is not there yet."""
    return JournalUrl.parse(f"sqlite:///{folder / name}")


async def filled(url: JournalUrl) -> None:
    """Keep two invoices of an account, one of them settled."""
    async with aclosing(SqlStore(url, patience=40)) as store:
        journal = await open_journal(store)
        for number in (1, 2):
            await journal.add_invoice(an_invoice(number))
        await settle(journal, 1)


async def test_a_shop_goes_on_in_the_other_database_and_back(
    bench: Bench, tmp_path: Path, postgres: PostgresServer
) -> None:
    """What was made before a move is settled after it, a cursor goes on, and what was paid is not paid again."""
    sandbox = await bench.sandbox()
    places = [
        a_file(tmp_path, "old.db"),
        JournalUrl.parse(postgres.new_database()),
        JournalUrl.parse(postgres.new_database()),
        a_file(tmp_path, "new.db"),
    ]
    foreign = sandbox.foreign_invoice(1_000_000).payment_request
    cursor: str | None = None
    unpaid: list[LightningInvoice] = []
    for number, place in enumerate(places):
        process = ProcessSettings(invoice_budget=None, journal_url=place, linger_seconds=0)
        if number:
            await asyncio.to_thread(copy_journal, places[number - 1], place)
        async with await bench.client(sandbox, process=process) as client:
            async with await client.listen(after=cursor) as listener, asyncio.timeout(40):
                if unpaid:
                    sandbox.pay(unpaid[-1].bolt11)
                    assert (await listener.wait_invoice()).id == unpaid[-1].id
                cursor = listener.cursor
            unpaid.append(await client.create_invoice(AMOUNT, "coffee"))
            assert (await client.pay(foreign)).result is PayResult.OK
            known = await client.list_invoices()
        assert [each.id for each in known] == [each.id for each in unpaid]
        assert {each.status for each in known[:-1]} <= {LightningInvoiceStatus.PAID}
    assert len(sandbox.ledger_snapshot()["payments"]) == 1


@pytest.mark.parametrize("into", ["sqlite", "postgresql"])
async def test_a_journal_in_use_is_not_copied(
    durable_url: JournalUrl, into: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A process that has the journal open, though it does nothing, is told of; nothing has changed then."""
    target = (
        a_file(tmp_path, "to.db")
        if into == "sqlite"
        else JournalUrl.parse(request.getfixturevalue("postgres").new_database())
    )
    await filled(durable_url)
    async with aclosing(SqlStore(durable_url, patience=40)) as store:
        journal = await open_journal(store, "fingerprint", None)
        with pytest.raises(JournalError, match=r"is in use.*; stop every process that uses it, then copy it"):
            await asyncio.to_thread(copy_journal, durable_url, target)
        assert await journal.add_invoice(an_invoice(3))
    assert (await asyncio.to_thread(copy_journal, durable_url, target))["flash_invoices"] == 3


async def test_the_old_journal_is_retired(durable_url: JournalUrl, tmp_path: Path) -> None:
    """After the move no driver opens the old journal, and no copy is made over the new one or of it a second time."""
    target = a_file(tmp_path, "to.db")
    await filled(durable_url)
    await asyncio.to_thread(copy_journal, durable_url, target)
    with pytest.raises(JournalError, match="was copied to another one, which takes its place; let FLASH_JOURNAL_URL"):
        async with aclosing(SqlStore(durable_url)) as store:
            await open_journal(store)
    with pytest.raises(JournalError, match="was copied to another one"):
        await asyncio.to_thread(copy_journal, durable_url, a_file(tmp_path, "third.db"))
    other = a_file(tmp_path, "other.db")
    await filled(other)
    with pytest.raises(JournalError, match="is not empty; name a file or database where nothing was kept yet"):
        await asyncio.to_thread(copy_journal, other, target)
    await filled(a_file(tmp_path, "other.db"))


async def test_an_unfinished_copy_is_finished_by_its_own_source_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that is held may be the only one left: no other journal is copied over it, and words say what to do."""
    source, target, other = (a_file(tmp_path, f"{name}.db") for name in ("from", "to", "other"))
    await filled(source)
    await filled(other)
    with monkeypatch.context() as broken:
        broken.setattr("flash_driver.journal.sql.copying.release", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(copy_journal, source, target)
    for journal in (source, target):
        with pytest.raises(JournalError, match="run the same flash-driver journal copy again"):
            await filled(journal)
    with pytest.raises(JournalError, match=r"to.db is a copy that is not finished; run the same"):
        await asyncio.to_thread(copy_journal, other, target)
    with pytest.raises(JournalError, match=r"from.db was copied to another one"):
        await asyncio.to_thread(copy_journal, source, a_file(tmp_path, "third.db"))
    assert (await asyncio.to_thread(copy_journal, source, target))["flash_invoices"] == 2


async def test_a_copy_that_breaks_off_leaves_everything_as_it_was(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something is wrong at the end, the source is in use as before, and the target takes another attempt."""
    source, target = a_file(tmp_path, "from.db"), JournalUrl.parse(postgres.new_database())
    await filled(source)
    with monkeypatch.context() as broken:
        broken.setattr("flash_driver.journal.sql.copying.add_rows", lambda *_: None)
        with pytest.raises(JournalError, match="does not hold what was written to it"):
            await asyncio.to_thread(copy_journal, source, target)
    async with aclosing(SqlStore(source, patience=40)) as store:
        assert len(await (await open_journal(store)).list_invoices()) == 2
    rows = await asyncio.to_thread(copy_journal, source, target)
    assert rows == {
        "flash_accounts": 1,
        "flash_logins": 1,
        "flash_invoices": 2,
        "flash_spent": 0,
        "flash_payments": 0,
    }
    async with aclosing(SqlStore(target, patience=40)) as store:
        assert len(engines(store)) == 1
        assert (await (await open_journal(store)).add_invoice(an_invoice(3))) is True


def test_the_command_says_what_it_did_and_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts and what to do next are told; a URL may stand in a variable; mistakes are named without their values."""
    source, target = f"sqlite:///{tmp_path}/from.db", f"sqlite:///{tmp_path}/to.db"
    asyncio.run(filled(JournalUrl.parse(source)))
    for wrong, said in (
        ((source, "memory:"), "TO is memory:"),
        ((source, source), "FROM and TO name the same journal"),
        (("nonsense", target), "FROM must be memory:, sqlite"),
        ((f"sqlite:///{tmp_path}/absent.db", target), "is not there"),
        ((f"sqlite:///{tmp_path}/empty.db", target), "is empty"),
    ):
        (tmp_path / "empty.db").touch()
        assert run(["journal", "copy", *wrong]) != 0
        assert said in capsys.readouterr().err
    monkeypatch.setenv("OLD_JOURNAL", source)
    assert run(["journal", "copy", "OLD_JOURNAL", target]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "flash_invoices: 2 rows" in told
    assert "cursors stay valid" in told
