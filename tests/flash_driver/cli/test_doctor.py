from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flash_driver.cli.commands import CANARY

if TYPE_CHECKING:
    import pytest

    from tests.flash_driver.cli.commands import Commands
    from tests.flash_driver.conftest import StartSandbox


async def test_table_on_a_good_server(cli: Commands, sandbox: StartSandbox) -> None:
    """The table fits 80 columns, has a row for each check, and ends with what it amounts to."""
    await sandbox()
    ended = await cli("doctor")
    assert (ended.status, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "\x1b" not in ended.out
    assert "Invoices can be created: over WebSocket, then HTTP, then GraphQL client, then public API." in ended.words
    assert "Settlements are heard of: by subscription, else by asking." in ended.words


async def test_table_on_a_server_of_no_use(cli: Commands, sandbox: StartSandbox) -> None:
    """Failures stand with their advice, the status is 1, and the way out is told."""
    server = await sandbox(ws_mutations="decline", http_bearer="reject")
    ended = await cli("doctor", f"{server.connection_string};transports=websocket,http,graphql")
    assert ended.status == 1
    assert "> nothing to do as long as HTTP takes the token" in ended.words
    assert "Invoices can't be created." in ended.words
    assert "make an API key" in ended.words


async def test_nothing_works(cli: Commands, sandbox: StartSandbox) -> None:
    """Without any server neither invoices nor news are to be had."""
    server = await sandbox()
    await server.aclose()
    ended = await cli("doctor")
    assert ended.status == 1
    assert "Settlements can't be heard of." in ended.words


async def test_json(cli: Commands, sandbox: StartSandbox) -> None:
    """A program gets the rows, the ways, and the verdict, in one document."""
    await sandbox(ws_mutations="decline")
    ended = await cli("doctor", "--json", "--verbose")
    assert ended.status == 0
    assert ended.json["ok"] is True
    assert ended.json["create_invoices"] == ["http", "graphql", "public"]
    assert ended.json["hear_settlements"] == ["subscription", "asking"]
    rows = {row["check"]: row for row in ended.json["checks"]}
    assert rows["socket mutations"]["result"] == "fail"
    assert rows["socket mutations"]["advice"]
    assert rows["TCP"]["target"].startswith("127.0.0.1:")
    assert rows["token"]["advice"] is None


async def test_string_as_an_argument(cli: Commands, sandbox: StartSandbox) -> None:
    """The string may be given directly; the hint about the process list goes to standard error."""
    server = await sandbox()
    ended = await cli("doctor", server.connection_string)
    assert ended.status == 0
    assert ended.err.count("list of processes") == 1


async def test_bad_string_is_a_finding(cli: Commands) -> None:
    """A string that can't be used is examined as far as it goes: the first row fails, status 1, no token shown."""
    ended = await cli("doctor", f"type=flash;tokn={CANARY}")
    assert ended.status == 1
    assert "tokn" in ended.words


async def test_progress_on_a_terminal(cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal the check under way is shown while it runs."""
    await sandbox()
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    ended = await cli("doctor")
    assert ended.status == 0
    assert "journal" in ended.err
