from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from flash_driver.cli.failures import BadUsage, Exit
from flash_driver.cli.output import Output
from flash_driver.cli.source import connection_text, misspelt_variables

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flash_driver.cli.commands import Commands
    from tests.flash_driver.conftest import StartSandbox

STRING = "type=flash;token=ory_st_x"


def test_file_is_read_to_its_first_line_with_text(tmp_path: Path) -> None:
    """Empty lines, blanks around, a byte order mark and Windows line ends do no harm."""
    path = tmp_path / "string"
    path.write_bytes(b"\xef\xbb\xbf\r\n  \r\n  " + STRING.encode() + b"  \r\nanother\r\n")
    assert connection_text(None, str(path), Output()) == STRING


def test_standard_input_is_a_file_named_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--file -` takes the string from a pipe."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"\n{STRING}\n".encode())))
    assert connection_text(None, "-", Output()) == STRING


def test_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without argument and file the variable counts."""
    monkeypatch.setenv("FLASH_CONNECTION_STRING", f" {STRING} ")
    assert connection_text(None, None, Output()) == STRING


def test_file_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who names a file means it."""
    monkeypatch.setenv("FLASH_CONNECTION_STRING", "type=other")
    path = tmp_path / "string"
    path.write_text(STRING)
    assert connection_text(None, str(path), Output()) == STRING


def test_argument_works_but_is_advised_against(capsys: pytest.CaptureFixture[str]) -> None:
    """A string on the command line is used, with one hint on standard error that does not repeat it."""
    assert connection_text(STRING, None, Output()) == STRING
    out, err = capsys.readouterr()
    assert out == ""
    assert "list of processes" in err
    assert err.count("\n") == 1
    assert "ory_st_x" not in err


def test_what_btcpay_would_not_take_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A string that works here and fails when it is pasted into BTCPay Server is used, with a note that says why."""
    path = tmp_path / "string"
    path.write_text("type=Flash; ;token=ory_st_x")
    assert connection_text(None, str(path), Output()) == "type=Flash; ;token=ory_st_x"
    err = capsys.readouterr().err
    assert "capitals in the value of 'type'" in err
    assert "blanks only" in err
    assert "ory_st_x" not in err


def test_file_gives_no_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is no reason for advice."""
    path = tmp_path / "string"
    path.write_text(STRING)
    connection_text(None, str(path), Output())
    assert capsys.readouterr() == ("", "")


def test_both_are_one_too_many() -> None:
    """A string and a file at once are a contradiction."""
    with pytest.raises(BadUsage, match="not both"):
        connection_text(STRING, "path", Output())


def test_none_says_how_to_give_one() -> None:
    """Without any string the error names the variable and the option."""
    with pytest.raises(BadUsage, match=r"FLASH_CONNECTION_STRING.*--file") as caught:
        connection_text(None, None, Output())
    assert caught.value.failure.kind == "connection-string"
    assert caught.value.failure.status is Exit.USAGE


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"\n \n", "is empty"), (b"type=fl\xff\xfesh", "is not text")]
)
def test_useless_file_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    """An empty file and one that is no text are told apart."""
    path = tmp_path / "string"
    path.write_bytes(content)
    with pytest.raises(BadUsage, match=words):
        connection_text(None, str(path), Output())


def test_missing_file_is_told(tmp_path: Path) -> None:
    """The system's reason is given, in words."""
    with pytest.raises(BadUsage, match=r"can't be read \(no such file or directory\)"):
        connection_text(None, str(tmp_path / "nothing"), Output())


@pytest.mark.parametrize("mark", ['"', "'"])
async def test_quotation_marks_of_a_shell_are_taken_off(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: str
) -> None:
    """A line copied from a file meant for a shell works, from the environment and from a file."""
    server = await sandbox()
    quoted = f"{mark}{server.connection_string}{mark}"
    monkeypatch.setenv("FLASH_CONNECTION_STRING", quoted)
    assert (await cli("balance")).status == 0
    monkeypatch.delenv("FLASH_CONNECTION_STRING")
    (tmp_path / "line").write_text(f"{quoted}\n")
    assert (await cli("balance", "--file", str(tmp_path / "line"))).status == 0


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FLASH_SETLE_ON", "FLASH_SETTLE_ON"),
        ("FLASH_JOURNAL", "FLASH_JOURNAL_URL"),
        ("FLASH_INVOICES_BUDGET", "FLASH_INVOICE_BUDGET"),
    ],
)
def test_what_was_probably_meant_is_told(name: str, meant: str) -> None:
    """A name that is nearly one of ours is told together with ours."""
    assert misspelt_variables([name]) == [f"nothing reads the environment variable {name}; did you mean {meant}?"]


@pytest.mark.parametrize(
    "name", ["FLASH_SETTLE_ON", "FLASH_CONNECTION_STRING", "FLASH_SANDBOX_TOKEN", "FLASH_X", "HOME"]
)
def test_other_names_are_nobody_s_business(name: str) -> None:
    """What is read, and what belongs to other programs, is passed over."""
    assert misspelt_variables([name]) == []


async def test_command_tells_it_and_goes_on(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt variable is a note on standard error, without its value; the command does what it does."""
    await sandbox()
    monkeypatch.setenv("FLASH_JOURNAL", "postgresql+asyncpg://me:hunter2@host/shop")
    ended = await cli("balance", "--json")
    assert ended.status == 0
    assert ended.json["balance_msat"] > 0
    assert ended.err == "note: nothing reads the environment variable FLASH_JOURNAL; did you mean FLASH_JOURNAL_URL?\n"
