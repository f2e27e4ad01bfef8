"""The variables of the environment, for people: what there is, and what was probably meant."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

from connection_strings import Secret
from connection_strings.text import did_you_mean
from lightning_host.allowance import Allowance
from lightning_host.settings import ENV_PREFIX, HostSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["unknown_variables", "variables_help"]

_WIDTH: Final = 100
_INDENT: Final = "      "
_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def variables_help() -> str:
    """List each variable, its default and what it does, as the docstring of `HostSettings` says it."""
    lines = [f"set by {ENV_PREFIX}... in the environment, each also as ..._FILE, naming a file that holds the value:"]
    documented = inspect.getdoc(HostSettings) or ""
    for name, words in _ATTRIBUTE.findall(documented.partition("Attributes:")[2]):
        default = _in_words(HostSettings.model_fields[name].default)
        lines.append(f"  {name.upper()}{f' ({default})' if default else ''}")
        said = re.sub(r"`(\w+)`", _as_variable, " ".join(words.split()))
        lines.append(textwrap.fill(said, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT))
    return "\n".join(lines)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return a sentence for each variable that has this host's prefix and that nothing reads."""
    known = {f"{field.upper()}{twin}" for field in HostSettings.model_fields for twin in ("", "_FILE")}
    shown = sorted(name.removeprefix(ENV_PREFIX) for name in names if name.startswith(ENV_PREFIX))
    hints = ((name, did_you_mean(name, known)) for name in shown if name not in known)
    return [
        f"{ENV_PREFIX}{name} is no setting of this host{hint.replace('mean ', f'mean {ENV_PREFIX}')}"
        for name, hint in hints
    ]


def _in_words(default: Any) -> str:
    """Write a default as it would stand in the environment; nothing for none."""
    if isinstance(default, Secret):
        return default.reveal()
    if isinstance(default, Allowance):
        return f"{default.times}/{default.seconds}"
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if isinstance(default, str | int | float) else ""


def _as_variable(name: re.Match[str]) -> str:
    return name[1].upper() if name[1] in HostSettings.model_fields else name[0]
