from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flash_driver.cli.failures import Exit, Failure
from flash_driver.cli.output import Output, printable, show_qr

if TYPE_CHECKING:
    from rich.console import Console

FAILURE = Failure(Exit.FAILURE, "odd", "it is odd", {"x": 1})


def test_words_of_a_server_do_not_steer_the_terminal() -> None:
    """Escape sequences and other control characters are replaced, line breaks and letters stay."""
    assert printable("a\x1b[31mb\x07\r\nç") == "a?[31mb??\nç"


def test_text_is_for_people_only(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json nothing but documents goes to standard output."""
    output = Output(as_json=True)
    output.text("hello")
    output.paragraph("hello")
    output.document({"a": 1})
    assert capsys.readouterr() == ('{"a": 1}\n', "")


def test_markup_of_a_server_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like rich's markup or an emoji code is neither."""
    output = Output()
    output.text("[red]x[/red] :smile:")
    output.paragraph("[bold]y")
    assert capsys.readouterr().out == "[red]x[/red] :smile:\n[bold]y\n"


def test_long_lines_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A BOLT11 is printed in one piece, to be copied."""
    Output().text("x" * 400)
    assert capsys.readouterr().out == "x" * 400 + "\n"


def test_failures_are_one_line_or_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads a line on standard error, a program a document on standard output."""
    Output().failure(FAILURE)
    assert capsys.readouterr() == ("", "error: it is odd\n")
    Output(as_json=True).failure(FAILURE)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"kind": "odd", "message": "it is odd", "x": 1}}
    assert err == ""


@pytest.mark.parametrize("console", ["console", "errors"])
def test_a_reader_that_went_away_is_known(console: str) -> None:
    """A broken pipe is an error to the command, not an exit from inside a library."""
    output = Output()
    chosen: Console = getattr(output, console)
    with pytest.raises(BrokenPipeError):
        chosen.on_broken_pipe()


def test_no_code_is_drawn_where_it_can_not_be_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output without block characters gets no QR code rather than a wrong one."""
    output = Output()
    monkeypatch.setattr(type(output.console), "encoding", "ascii")
    show_qr(output, "lnbc1")
    assert capsys.readouterr().out == ""


def test_code_fits_and_has_its_quiet_zone(capsys: pytest.CaptureFixture[str]) -> None:
    """The code of a long BOLT11 fits 80 columns, has straight sides and a light border."""
    show_qr(Output(), "lnbcrt" + "q" * 330)
    lines = capsys.readouterr().out.splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= 80
    assert set(lines[0]) == {"█"}
    assert all(line.startswith(("██", "▀▀")) for line in lines)
