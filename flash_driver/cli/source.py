"""Where the connection string comes from.

A string given as an argument stands in the list of processes, which everybody on the machine may read, and in the
shell's history. So there are two more ways: the environment, and a file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connection_strings.errors import ConnectionStringError
from connection_strings.grammar import MAX_LENGTH, leniencies
from connection_strings.text import did_you_mean
from flash_driver.cli.failures import BadUsage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_driver.cli.output import Output

__all__ = ["VARIABLE", "connection_text", "misspelt_variables", "tell_misspelt_variables"]

VARIABLE: Final = "FLASH_CONNECTION_STRING"
"""The environment variable that may hold the connection string."""

_HINT: Final = (
    f"note: an argument can be read in the list of processes and in the shell's history; better set {VARIABLE}, or use "
    "--file"
)
_MOST_BYTES: Final = 4 * MAX_LENGTH
_PREFIX: Final = "FLASH_"
_OTHERS: Final = ("CONNECTION_STRING", "SANDBOX_API_KEY", "SANDBOX_TOKEN")
"""What commands read besides `ProcessSettings`."""


def connection_text(given: str | None, file: str | None, output: Output) -> str:
    """Return the connection string: as given, else from the file, else from the environment.

    Whatever else the environment holds that was meant for this program and will not be read is told.

    Args:
        given: The string itself, from the command line.
        file: A path, or `-` for standard input; the first line that is not empty counts.
        output: Where to advise against the first way, and to tell of misspelt variables.

    Raises:
        BadUsage: There is none, or there are two.

    """
    tell_misspelt_variables(output)
    if given is not None and file is not None:
        raise BadUsage("give the connection string itself or --file, not both")
    text = _text(given, file, output)
    for what in _leniencies(text):
        output.note(f"note: the connection string has {what}; it is read here, but BTCPay Server would not take it")
    return text


def _leniencies(text: str) -> tuple[str, ...]:
    try:
        return leniencies(text)
    except ConnectionStringError:
        return ()  # who reads it tells what is wrong


def _text(given: str | None, file: str | None, output: Output) -> str:
    if given is not None:
        output.note(_HINT)
        return given
    if file is not None:
        return _first_line(_read(file), "standard input" if file == "-" else file)
    if text := _unquoted(os.environ.get(VARIABLE, "").strip()):
        return text
    words = f"no connection string: set {VARIABLE}, or use --file PATH (- reads standard input)"
    raise BadUsage(words, kind="connection-string")


def _read(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(_MOST_BYTES)
        with Path(file).open("rb") as opened:
            return opened.read(_MOST_BYTES)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BadUsage(f"--file: {file} can't be read ({reason})", kind="connection-string") from None


def _first_line(content: bytes, name: str) -> str:
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadUsage(f"--file: {name} is not text in UTF-8", kind="connection-string") from None
    line = next((line.strip() for line in lines if line.strip()), None)
    if line is None:
        raise BadUsage(f"--file: {name} is empty", kind="connection-string")
    return _unquoted(line)


def _unquoted(text: str) -> str:
    """Take off the quotation marks that stand around a whole line, as in files meant for a shell."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1].strip() if quoted else text


def tell_misspelt_variables(output: Output) -> None:
    """Note each variable of the environment that was probably meant for this program and that nothing reads."""
    for sentence in misspelt_variables(os.environ):
        output.note(f"note: {sentence}")


def misspelt_variables(names: Iterable[str]) -> list[str]:
    """Return a sentence for each that is close to one of ours; other programs may have the prefix, too."""
    from flash_driver.settings.process import ProcessSettings  # noqa: PLC0415 - no command's help needs pydantic

    # Compared without the prefix, which all have and which would make them alike.
    known = {name.upper() for name in (*ProcessSettings.model_fields, *_OTHERS)}
    ours = sorted(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX))
    hints = ((name, did_you_mean(name, known)) for name in ours if name not in known)
    return [
        f"nothing reads the environment variable {_PREFIX}{name}{hint.replace('mean ', f'mean {_PREFIX}')}"
        for name, hint in hints
        if hint
    ]
