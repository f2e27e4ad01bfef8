"""What the server said, as text that may be shown: one line, cut, with anything like a credential masked; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["describe", "error_rows", "first_error", "message_of"]

_LONGEST_WORDS: Final = 500


_LONGEST_CODE: Final = 64


# A server may repeat in its message what it was sent. Tokens of any kind are long and mix letters with digits; what
# else does so (hashes, ids) is no loss to a reader.
_CREDENTIAL: Final = re.compile(
    r"\b(?:ory_st_|fk_)[\w-]+|(?<=\bbearer )\S+|\beyJ[\w-]+\.[\w.-]+"
    r"|\b(?=[\w.~+/-]*[0-9])(?=[\w.~+/-]*[a-z])[\w.~+/-]{24,}",
    re.IGNORECASE,
)


# Apollo Router drops the code of an error on its way (flash-server.md 5.1); these words identify it all the same.
_CODE_BY_WORDS: Final = (
    (re.compile(r"^not authorized$", re.IGNORECASE), "NOT_AUTHORIZED"),
    (re.compile(r"^not authenticated", re.IGNORECASE), "NOT_AUTHENTICATED"),
    (re.compile(r"^too many |rate limit exceeded", re.IGNORECASE), "TOO_MANY_REQUEST"),
    (
        re.compile(r'^(cannot query field|unknown argument|unknown type|variable "\$)', re.IGNORECASE),
        "GRAPHQL_VALIDATION_FAILED",
    ),
)


def describe(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str | None]:
    """Return the words and the code of the first error, wherever the server put the code.

    The words are one line of limited length, and what looks like a credential in them is masked.
    """
    first = first_error(errors)
    message = " ".join(message_of(errors).split())
    words = _CREDENTIAL.sub("***", message)[:_LONGEST_WORDS] or "an error without a message"
    extensions = first.get("extensions")
    code = (extensions.get("code") if isinstance(extensions, dict) else None) or first.get("code")
    if not code:
        code = next((name for pattern, name in _CODE_BY_WORDS if pattern.search(message)), None)
    return words, _CREDENTIAL.sub("***", str(code))[:_LONGEST_CODE] if code else None


def message_of(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return the words of the first error, as the server wrote them; empty where it has none."""
    message = first_error(errors).get("message")
    return message if isinstance(message, str) else ""


def first_error(errors: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the first error that is an object; empty where there is none."""
    return next((error for error in errors if isinstance(error, dict)), {})


def error_rows(errors: object) -> list[Mapping[str, Any]]:
    """Read a payload's `errors`; anything but an empty list or null means that something failed, however odd."""
    if not errors:
        return []
    rows = errors if isinstance(errors, list) else [errors]
    return [row for row in rows if isinstance(row, dict)] or [{}]
