from __future__ import annotations

import inspect
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import pytest

from flash_driver import __version__
from flash_driver.cli import main
from flash_driver.cli.app import COMMANDS as ALL
from flash_driver.cli.failures import Exit
from flash_driver.cli.output import Output
from tests.flash_driver.cli.commands import CANARY

if TYPE_CHECKING:
    from flash_driver.cli.app import Command
    from tests.flash_driver.cli.commands import Commands

COMMANDS = ["demo", "doctor", "invoice", "balance", "pay", "payment", "sandbox"]


async def test_version(cli: Commands) -> None:
    """`--version` names the program and its version."""
    ended = await cli("--version")
    assert (ended.status, ended.out) == (0, f"flash-driver {__version__}\n")


async def test_help_names_every_command(cli: Commands) -> None:
    """`--help` lists the commands and the exit statuses."""
    ended = await cli("--help")
    assert ended.status == 0
    assert [name for name in COMMANDS if name not in ended.out] == []
    assert "do not pay again" in ended.words


@pytest.mark.parametrize(
    "command", [["demo"], ["doctor"], ["invoice", "create"], ["invoice", "watch"], ["balance"], ["pay"], ["sandbox"]]
)
async def test_every_command_explains_itself(cli: Commands, command: list[str]) -> None:
    """Each command has help, and offers JSON."""
    ended = await cli(*command, "--help")
    assert ended.status == 0
    assert "--json" in ended.out


async def test_help_shows_what_to_type_and_no_types_of_a_programmer(cli: Commands) -> None:
    """`--help` writes AMOUNT and [STRING], not {AMOUNT}, [[STRING]], <str> or <int range>; choices are listed."""
    ended = await cli("invoice", "create", "--help")
    assert ended.out.startswith("Usage: flash-driver invoice create [OPTIONS] AMOUNT...\n")
    ended = await cli("doctor", "--help")
    assert ended.out.startswith("Usage: flash-driver doctor [OPTIONS] [STRING]\n")
    assert "<accept|decline|close>" in (await cli("sandbox", "--help")).out


def test_the_help_of_no_command_shows_types_of_a_programmer() -> None:
    """No name of a type, and no braces around what must be given, is in the help of any command."""
    described = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text()  # made of all help, by a test
    assert re.findall(r"<[\w ]+>|\{.*?\}|\[\[", described) == []


WRONG: list[tuple[str, str]] = [
    ("nonsense", "there is no command 'nonsense' (see flash-driver --help)"),
    ("invoce", "there is no command 'invoce', did you mean 'invoice'? (see flash-driver --help)"),
    ("invoice create", "AMOUNT is missing (see flash-driver invoice create --help)"),
    ("invoice create many", "AMOUNT: an amount is a plain decimal number with a unit"),
    ("invoice create 10 dollars", "AMOUNT: the unit of an amount is msat, sat or BTC; write 1000 (satoshi)"),
    ("invoice create 0.1 msat", "AMOUNT: an amount has no fraction below one millisatoshi"),
    ("invoice create -5", "-5 is taken for an option, and no number here is below zero"),
    ("invoice create 5 --expiry soon", "--expiry takes a duration longer than zero, written 15m, 90s, 1h30m or 2d"),
    ("invoice create 5 --expiry", "--expiry needs a value"),
    ("invoice create 5 --expires 5m", "there is no option --expires, did you mean --expiry?"),
    ("invoice create 5 --file /nowhere/at-all", "--file: /nowhere/at-all can't be read (no such file or directory)"),
    ("invoice create 5 --file /", "--file: / can't be read (is a directory)"),
    ("balance --nonsense", "there is no option --nonsense"),
    ("balance -c nonsense", "connection string: a pair is written key=value, and here the '=' is missing"),
    ("balance -c type=flash", "connection string: the key 'token' is missing; add token="),
    ("pay", "DESTINATION is missing"),
    ("pay nonsense", "bolt11 is not a BOLT11 payment request"),
    ("pay nonsense 100", "there is an argument too many: 100; put a text with blanks in quotes"),
    ("pay nonsense --amount much", "--amount: an amount is a plain decimal number"),
    ("pay nonsense --timeout long", "--timeout takes a duration longer than zero"),
    ("pay nonsense --max-fee-percent few", "--max-fee-percent takes a number, such as 0.5"),
    ("demo --server-kind odd", "--server-kind must be one of 'accept', 'decline', 'close'"),
    ("demo --sats lots", "--sats: an amount is a plain decimal number"),
    ("sandbox --port http", "--port must be a whole number (see flash-driver sandbox --help)"),
    ("sandbox --port 70000", "--port must be 65535 or less"),
    ("journal prune 1", "DAYS must be 3 or more"),
    ("journal export cats", "KIND must be invoices or payments"),
    ("journal copy nonsense sqlite:////a", "FROM must be memory:, sqlite"),
    ("payment settle HASH", "--paid is missing"),
]
"""What a newcomer may type -> part of the one sentence that comes back."""


@pytest.mark.parametrize(("line", "words"), WRONG, ids=[line for line, _ in WRONG])
async def test_wrong_usage_is_one_line_and_status_two(cli: Commands, line: str, words: str) -> None:
    """A mistake is told in one line that names what is wrong and says what would be right; status 2."""
    ended = await cli(*line.split())
    assert ended.status == 2
    error = ended.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert ended.err.count("error: ") == 1


@pytest.mark.parametrize(
    "line", ["nonsense --json", "invoice create --json", "invoice create many --json", "pay nonsense --json"]
)
async def test_wrong_usage_is_told_in_json(cli: Commands, line: str) -> None:
    """The same mistakes are JSON where that was asked for."""
    told = await cli(*line.split())
    assert told.status == 2
    assert told.json["error"]["kind"] in {"usage", "invalid-request"}


@pytest.mark.parametrize("arguments", [[], ["invoice"]])
async def test_nothing_to_do_shows_help(cli: Commands, arguments: list[str]) -> None:
    """Without a command the help is shown, and the status says that nothing was done."""
    ended = await cli(*arguments)
    assert ended.status == 2
    assert "Usage:" in ended.out
    assert ended.err.startswith("error: which command? (see flash-driver")


@pytest.mark.parametrize(
    "arguments", [["{}"], ["doctor", "x", "{}"], ["invoice", "{}"], ["balance", "{}"], ["pay", "{}"]]
)
async def test_misplaced_string_is_not_repeated(cli: Commands, arguments: list[str]) -> None:
    """A connection string in the wrong place is complained about without its token."""
    string = f"type=flash;token={CANARY};server=https://api.test/graphql"
    for extra in ([], ["--json"], ["--verbose"]):
        ended = await cli(*(part.format(string) for part in arguments), *extra)
        assert ended.status == 2


async def test_connection_string_errors_have_status_two(cli: Commands) -> None:
    """A string that can't be used names its key, and never a value."""
    ended = await cli("balance", "--json", "-c", f"type=flash;tokn={CANARY}")
    assert ended.status == 2
    assert ended.json["error"]["kind"] == "connection-string"
    other = await cli("balance", "-c", "type=clightning;server=unix://x")
    assert other.status == 2
    assert "type=clightning has no driver installed; installed: flash" in other.err


def explode(*_arguments: object, **_options: object) -> Never:
    """Fail as no command should."""
    raise ZeroDivisionError(CANARY)


async def test_unexpected_error_is_no_traceback(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is told in one line; --verbose shows where it is, without the words of the error."""
    monkeypatch.setattr("flash_driver.cli.balance.run_with_client", explode)
    ended = await cli("balance")
    assert ended.status == 1
    assert ended.err == "error: unexpected ZeroDivisionError; --verbose shows where it comes from\n"
    loud = await cli("balance", "--verbose")
    assert "in explode" in loud.err


def raising(error: BaseException) -> Any:
    """Make a function that raises this."""

    def work(*_arguments: object, **_options: object) -> Never:
        raise error

    return work


async def test_interrupt_ends_quietly(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is one line and status 130."""
    monkeypatch.setattr("flash_driver.cli.balance.run_with_client", raising(KeyboardInterrupt()))
    ended = await cli("balance")
    assert (ended.status, ended.err) == (130, "")


async def test_reader_that_went_away_ends_quietly(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken pipe has a status of its own and no words, whether it breaks at the result or at the error."""
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setattr("flash_driver.cli.balance.run_with_client", raising(BrokenPipeError()))
    ended = await cli("balance")
    assert (ended.status, ended.out, ended.err) == (141, "", "")
    monkeypatch.setattr(Output, "failure", raising(BrokenPipeError()))
    assert (await cli("nonsense")).status == Exit.BROKEN_PIPE


async def test_output_that_is_no_stream_of_the_system(
    cli: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output that can't be set to replace what it can't show is used as it is."""

    class Plain:
        encoding = "utf-8"

        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    plain = Plain()
    monkeypatch.setattr(sys, "stdout", plain)
    await cli("--version")
    assert plain.text == f"flash-driver {__version__}\n"
    capsys.readouterr()


@pytest.mark.parametrize("missing", ["typer", "rich", "segno"])
def test_missing_extra_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the packages of the extra `cli`, one line says what to install."""
    monkeypatch.setattr("flash_driver.cli.find_spec", lambda name: None if name == missing else name)
    assert main(["--version"]) == 1
    assert capsys.readouterr() == (
        "",
        "error: this command needs the extra 'cli': pip install '.[cli]' in the project's folder\n",
    )


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_the_list_says_of_a_command_what_its_own_help_says(command: Command) -> None:
    """What is listed before a command is loaded begins its description, and its name leads to it."""
    module = import_module(f"flash_driver.cli.{command.module}")
    if command.is_group:
        assert module.app.registered_commands
        return
    described = inspect.getdoc(getattr(module, command.name))
    assert described is not None
    assert " ".join(described.partition("\n\n")[0].split()) == command.help
