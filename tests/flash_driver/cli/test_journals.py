from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.cli.journals import where_invoices_are_known, where_payments_are_known

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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
