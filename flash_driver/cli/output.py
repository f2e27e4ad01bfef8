"""What a command shows: text for a person, or JSON for a program; never both on standard output."""

from __future__ import annotations

import io
import json
import sys
import traceback
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Never

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from flash_driver.cli.failures import Failure

__all__ = ["Output", "printable", "show_qr"]

_BORDER: Final = 2
"""How many light modules stand around a QR code."""


class Output:
    """Where a command shows what it does; colours only on a terminal.

    Args:
        as_json: Whether standard output is for a program.
        verbose: Whether the driver's log is shown, on standard error.

    """

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose

    @cached_property
    def console(self) -> Console:
        """Standard output, for text."""
        return _console(stderr=False)

    @cached_property
    def errors(self) -> Console:
        """Standard error."""
        return _console(stderr=True)

    def text(self, text: str = "", style: str | None = None) -> None:
        """Show a line to a person, however long: what may be copied is not broken into lines."""
        if not self.as_json:
            self.console.print(printable(text), style=style, soft_wrap=True)
            sys.stdout.flush()

    def paragraph(self, text: str, style: str | None = None) -> None:
        """Show words to a person, in lines of the terminal's width."""
        if not self.as_json:
            self.console.print(printable(text), style=style)

    def document(self, value: Mapping[str, Any]) -> None:
        """Write one JSON document on one line."""
        print(json.dumps(value), flush=True)  # noqa: T201 - what rich writes is for people

    def note(self, text: str) -> None:
        """Tell a person something beside the result."""
        self.errors.print(printable(text), style="dim", soft_wrap=True)

    def failure(self, failure: Failure) -> None:
        """Tell in one line why it did not work."""
        message = printable(failure.message)
        if self.as_json:
            self.document({"error": {"kind": failure.kind, "message": message, **failure.facts}})
        elif failure.kind != "interrupted":  # the person who pressed Ctrl-C knows
            self.errors.print(f"error: {message}", style="red", soft_wrap=True)

    def trace(self, error: BaseException) -> None:
        """Show where an unexpected error comes from, without its words: they may quote a secret."""
        if self.verbose:
            self.note("".join(traceback.format_tb(error.__traceback__)).rstrip())

    def log_line(self, level: str, event: str, values: Mapping[str, object]) -> None:
        """Show one event of the driver's log."""
        pairs = " ".join(f"{key}={value}" for key, value in values.items())
        self.note(f"{level:<7} {event} {pairs}".rstrip())


def _console(*, stderr: bool) -> Console:
    """Return a console that lets a reader's departure be known instead of exiting by itself."""
    from rich.console import Console  # noqa: PLC0415 - a command that writes JSON shows no text

    class Pipe(Console):
        def on_broken_pipe(self) -> Never:
            raise BrokenPipeError

    return Pipe(stderr=stderr, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Replace what could steer a terminal: some of the words shown come from a server."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def show_qr(output: Output, bolt11: str) -> None:
    """Draw a payment request so that a phone can scan it; nothing where the encoding has no block characters.

    Upper case, because QR codes hold it in fewer modules (BOLT 11). Light modules are drawn, so that it scans on the
    dark ground that most terminals have; where there are colours they are set, and it scans on any.
    """
    if not output.console.encoding.startswith("utf"):
        return
    import segno  # noqa: PLC0415 - most commands draw none

    drawn = io.StringIO()
    segno.make_qr(f"lightning:{bolt11}".upper(), error="l").terminal(out=drawn, border=_BORDER, compact=True)
    for line in drawn.getvalue().splitlines():
        output.text(line, style="bright_white on black")
