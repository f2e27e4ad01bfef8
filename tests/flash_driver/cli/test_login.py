"""From a phone to a connection string, and from a session to an API key."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from connection_strings import ConnectionString
from flash_driver.sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.sandbox import Sandbox
    from tests.flash_driver.cli.commands import Commands
    from tests.flash_driver.conftest import StartSandbox

PHONE, CODE = SandboxOptions().phone, SandboxOptions().phone_code
CHALLENGE = "mutation { captchaCreateChallenge { result { challengeCode } } }"
REQUEST = (
    "mutation ($input: CaptchaRequestAuthCodeInput!) "
    "{ captchaRequestAuthCode(input: $input) { success errors { message } } }"
)


def readable_by_all(path: Path) -> Path:
    """Make a file that everybody can read."""
    path.write_text("old")
    path.chmod(0o644)
    return path


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def left_over(folder: Path) -> list[str]:
    """Return the hidden files of a folder."""
    return [each.name for each in folder.iterdir() if each.name.startswith(".")]


async def code_is_sent(server: Sandbox) -> None:
    """Do what a person does in a browser: solve the captcha, and have the code sent."""
    async with ClientSession() as session:
        async with session.post(server.server, json={"query": CHALLENGE}) as answered:
            challenge = (await answered.json())["data"]["captchaCreateChallenge"]["result"]["challengeCode"]
        solved = {"phone": PHONE, "challengeCode": challenge, "validationCode": "solved", "secCode": "solved"}
        async with session.post(server.server, json={"query": REQUEST, "variables": {"input": solved}}) as answered:
            assert (await answered.json())["data"]["captchaRequestAuthCode"]["success"] is True


async def log_in(cli: Commands, server: Sandbox, *more: str) -> Any:
    """Log in with the code that was sent."""
    await code_is_sent(server)
    return await cli("login", "--phone", PHONE, "--code", CODE, "--server", server.server, "--json", *more)


async def test_login_gives_a_connection_string_that_works(cli: Commands, sandbox: StartSandbox) -> None:
    """The line that is printed can be used at once."""
    server = await sandbox()
    line = (await log_in(cli, server)).json["connection_string"]
    assert ConnectionString.parse(line).values["server"] == server.server
    assert (await cli("balance", "--connection", line)).status == 0


async def test_login_writes_a_private_file(cli: Commands, sandbox: StartSandbox, tmp_path: Path) -> None:
    """With --out nothing shows the token, and the file is readable by its owner alone, also where one was before."""
    server = await sandbox()
    path = readable_by_all(tmp_path / "flash")
    ended = await log_in(cli, server, "--out", str(path))
    assert ended.json == {"file": str(path)}
    assert mode(path) == 0o600
    assert "ory_st_" not in ended.out + ended.err
    assert (await cli("balance", "--file", str(path))).status == 0
    assert left_over(tmp_path) == []


async def test_login_with_an_authenticator(cli: Commands, sandbox: StartSandbox) -> None:
    """An account with TOTP needs its code as well; a wrong one is told."""
    server = await sandbox(totp_code="654321")
    refused = await log_in(cli, server, "--totp", "000000")
    assert (refused.status, refused.json["error"]["kind"]) == (1, "refused")
    line = (await log_in(cli, server, "--totp", "654321")).json["connection_string"]
    assert (await cli("balance", "--connection", line)).status == 0


async def test_a_wrong_code_is_refused_in_the_servers_words(cli: Commands, sandbox: StartSandbox) -> None:
    """What Flash says to a wrong code reaches the person."""
    server = await sandbox()
    await code_is_sent(server)
    ended = await cli("login", "--phone", PHONE, "--code", "999999", "--server", server.server)
    assert (ended.status, "code" in ended.err) == (1, True)


async def test_nobody_is_asked_where_nobody_is(cli: Commands, sandbox: StartSandbox) -> None:
    """Without a terminal a missing option is bad usage, not a hang."""
    server = await sandbox()
    ended = await cli("login", "--server", server.server)
    assert (ended.status, "give it as an option" in ended.err) == (2, True)


async def test_a_code_is_never_sent_in_the_clear(cli: Commands) -> None:
    """A server without TLS is taken on this machine only."""
    ended = await cli("login", "--phone", PHONE, "--code", CODE, "--server", "http://flash.example/graphql")
    assert (ended.status, "must be an https:// URL" in ended.err) == (2, True)


async def test_keys_are_made_listed_and_ended(cli: Commands, sandbox: StartSandbox, tmp_path: Path) -> None:
    """A key with what a shop needs is made from the session, works, is listed without its secret, and is ended."""
    await sandbox()
    path = tmp_path / "key"
    made = (await cli("api-key", "create", "shop", "--days", "30", "--out", str(path), "--json")).json
    assert (await cli("invoice", "create", "1000", "--file", str(path), "--json")).json["status"] == "unpaid"
    listed = await cli("api-key", "list", "--json")
    (key,) = [each for each in listed.json["api_keys"] if each["id"] == made["id"]]
    assert (key["name"], key["status"]) == ("shop", "ACTIVE")
    assert "fk_" not in listed.out
    read = (await cli("api-key", "list")).out
    assert "shop" in read
    assert made["id"] in read
    assert (await cli("api-key", "revoke", made["id"], "--json")).json["status"] == "REVOKED"
    refused = await cli("balance", "--file", str(path), "--json")
    assert (refused.status, refused.json["error"]["kind"]) == (1, "credential-rejected")


@pytest.mark.parametrize("command", [("list",), ("create", "x"), ("revoke", "x")])
async def test_keys_are_managed_by_a_session(cli: Commands, sandbox: StartSandbox, command: tuple[str, ...]) -> None:
    """A key can't manage keys; the error says what can."""
    server = await sandbox()
    line = f"type=flash;server={server.server};token={server.api_key};allowinsecure=true"
    ended = await cli("api-key", *command, "--connection", line)
    assert (ended.status, "flash-driver login" in ended.err) == (2, True)


async def test_what_can_t_be_made_is_refused(cli: Commands, sandbox: StartSandbox) -> None:
    """A scope that does not exist, a key that does not exist: one line, status 1."""
    await sandbox()
    assert (await cli("api-key", "create", "x", "--scope", "everything")).status == 1
    assert (await cli("api-key", "revoke", "00000000-0000-0000-0000-000000000000")).status == 1


async def test_no_key_is_made_that_can_t_be_kept(cli: Commands, sandbox: StartSandbox, tmp_path: Path) -> None:
    """An output that can't be written is told before anything is asked for."""
    server = await sandbox()
    ended = await cli("api-key", "create", "x", "--out", str(tmp_path / "none" / "key"), "--json")
    assert ended.json["error"]["kind"] == "output"
    assert "can't be written" in ended.json["error"]["message"]
    assert "apiKeyCreate" not in server.ledger_snapshot()["operations"]
