"""Text from outside, made fit to be shown: cut first, then masked; the one masker of the driver.

A server, a proxy or a database may repeat in its words what it was sent. `shown` is what stands between such words and
every log line, error and report. It looks at a limited number of characters, each once, however long the text is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from connection_strings.secret import Secret

__all__ = ["LONGEST_SHOWN", "hide", "mask_tokens", "shown"]

LONGEST_SHOWN: Final = 500
"""How many characters of a foreign text are shown, unless less is asked for."""

_LONGEST_READ: Final = 4096
"""How many are looked at: a token that begins within what is shown has to be seen whole to be known."""

_MASK: Final = "***"
_TOKEN: Final = re.compile(
    r"""(?P<kept> \b(?:api-)?token\s*=\s*  |  ory_st_  |  \b(?:fk_|eyJ) )  [^;'"\s)]+""",
    re.IGNORECASE | re.VERBOSE,
)
"""What stands behind the key of a connection string, or begins as tokens do."""

_BEARER: Final = re.compile(r"(\bbearer )\S+", re.IGNORECASE)

_WORD: Final = re.compile(r"[\w.~+/=-]{24,}")
"""Tokens of any kind are at least so long and mix letters with digits; what else does so is no loss to a reader."""

_hidden: Final[WeakValueDictionary[int, Secret]] = WeakValueDictionary()
"""The credentials in use in this process, for as long as something uses them."""


def hide(secret: Secret) -> Secret:
    """Have this very value masked wherever foreign text is shown, whatever it looks like; gives it back."""
    _hidden[id(secret)] = secret
    return secret


def mask_tokens(text: str) -> str:
    """Mask the credentials in use, and what is a token by its key or its look; keep all other words.

    For texts of our own, which may quote a connection string. A foreign text goes through `shown`.
    """
    for secret in list(_hidden.values()):
        value = secret.reveal()
        if value and value in text:
            text = text.replace(value, _MASK)
    return _TOKEN.sub(rf"\g<kept>{_MASK}", text)


def shown(text: object, longest: int = LONGEST_SHOWN) -> str:
    """Return a foreign text as it may be shown: one line, of limited length, with nothing like a credential in it.

    Args:
        text: The text; anything else is shown by its `repr`.
        longest: How many characters to show.

    """
    words = text[:_LONGEST_READ] if isinstance(text, str) else _short_repr(text)
    line = _BEARER.sub(rf"\g<1>{_MASK}", mask_tokens(" ".join(words.split())))
    return _WORD.sub(_unless_mixed, line)[:longest]


def _short_repr(value: object) -> str:
    """Write a value that came as JSON, without writing all of a large one first."""
    if isinstance(value, dict | list):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > _LONGEST_READ:
        return "a huge number"
    return repr(value)[:_LONGEST_READ]


def _unless_mixed(match: re.Match[str]) -> str:
    word = match[0]
    return _MASK if any(map(str.isdigit, word)) and any(map(str.isalpha, word)) else word
