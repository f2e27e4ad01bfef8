"""What the server said in its errors, as words and a code that may be shown; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common.masking import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["describe", "error_rows", "first_error", "message_of"]

_LONGEST_CODE: Final = 64
_LONGEST_MESSAGE: Final = 4096

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
    words = shown(message_of(errors))
    extensions = first.get("extensions")
    code = (extensions.get("code") if isinstance(extensions, dict) else None) or first.get("code")
    if not code:
        code = next((name for pattern, name in _CODE_BY_WORDS if pattern.search(words)), None)
    return words or "an error without a message", shown(code, _LONGEST_CODE) if code else None


def message_of(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return the first words of the first error, as the server wrote them; empty where it has none.

    They are cut before anything looks for a meaning in them: a message may have megabytes.
    """
    message = first_error(errors).get("message")
    return message[:_LONGEST_MESSAGE] if isinstance(message, str) else ""


def first_error(errors: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the first error that is an object; empty where there is none."""
    return next((error for error in errors if isinstance(error, dict)), {})


def error_rows(errors: object) -> list[Mapping[str, Any]]:
    """Read a payload's `errors`; anything but an empty list or null means that something failed, however odd."""
    if not errors:
        return []
    rows = errors if isinstance(errors, list) else [errors]
    return [row for row in rows if isinstance(row, dict)] or [{}]
