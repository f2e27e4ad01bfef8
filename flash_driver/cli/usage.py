"""What is wrong with the arguments of a command, in one sentence that names the argument and says what it must be."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["usage_words"]

_MUST_BE: Final = (
    (re.compile(r"Input should be a valid integer.*"), r"must be a whole number"),
    (re.compile(r"Input should be a valid number.*"), r"must be a number"),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"must be \1 or more"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"must be \1 or less"),
    (re.compile(r"Value error, '.*' is not one of (.*?)\.?"), r"must be one of \1"),
)
"""What typer says of a value -> what the value must be; values themselves are not repeated."""

_NO_COMMAND: Final = re.compile(r"No such command ('.*?')\.(?: Did you mean ('.*?')\?)?")
_TOO_MANY: Final = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)")
_NUMBER: Final = re.compile(r"-[0-9.,]+")


def usage_words(error: Any) -> str:
    """Return what a usage error of typer means, and which help tells more.

    Its classes are not public, so they are told by what they carry: a parameter, or an option's name.
    """
    context = getattr(error, "ctx", None)
    command = "flash-driver" if context is None else context.command_path
    return f"{_reason(error)} (see {command} --help)"


def _reason(error: Any) -> str:
    said = " ".join(str(error.message or "").split())
    if (parameter := getattr(error, "param", None)) is not None:
        return f"{_name(parameter)} {_must_be(said) if said else 'is missing'}"
    if (option := getattr(error, "option_name", None)) is not None:
        return _option(error, str(option), said)
    if match := _NO_COMMAND.fullmatch(said):
        return f"there is no command {match[1]}" + (f", did you mean {match[2]}?" if match[2] else "")
    if match := _TOO_MANY.fullmatch(said):
        return f"there is an argument too many: {match[1]}; put a text with blanks in quotes"
    return said.rstrip(".") or "which command?"


def _option(error: Any, option: str, said: str) -> str:
    if "No such option" not in said:
        return f"{option} needs a value" if "requires an argument" in said else said.rstrip(".")
    if _NUMBER.fullmatch(option):
        return f"{option} is taken for an option, and no number here is below zero"
    likely = " or ".join(getattr(error, "possibilities", None) or ())
    return f"there is no option {option}" + (f", did you mean {likely}?" if likely else "")


def _name(parameter: Any) -> str:
    """Return what the help calls a parameter: `--port`, or `AMOUNT`."""
    options = [name for name in parameter.opts if name.startswith("--")]
    return str(options[0] if options else parameter.metavar or parameter.name.upper())


def _must_be(said: str) -> str:
    for pattern, words in _MUST_BE:
        if match := pattern.fullmatch(said):
            return match.expand(words)
    return f"can't be used: {said.rstrip('.')}"
