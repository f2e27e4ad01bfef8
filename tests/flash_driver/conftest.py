"""Fixtures for tests of the command line and the doctor."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from tests.flash_driver.cli.commands import CANARY, Commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

_ACCOUNTS: Final = count()
"""Token and name decide the account, and a journal in memory outlives a test: each sandbox has another account."""


class StartSandbox(Protocol):
    """Starts a sandbox whose token is the canary, and puts its connection string where commands find it."""

    async def __call__(self, **options: Any) -> Sandbox:
        """Start one."""
        ...


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Iterator[Commands]:
    """Give a way to run commands; afterwards none of them may have shown the token."""
    commands = Commands(capsys)
    yield commands
    assert [said for said in commands.said if CANARY in said] == []


@pytest.fixture
def sandbox(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> StartSandbox:
    """Give a way to start sandboxes."""

    async def start(**options: Any) -> Sandbox:
        made = await bench.sandbox(**{"token": CANARY, "username": f"merchant_{next(_ACCOUNTS)}", **options})
        monkeypatch.setenv("FLASH_CONNECTION_STRING", made.connection_string)
        return made

    return start
