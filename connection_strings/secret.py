"""A string that shows itself only when asked by name."""

from __future__ import annotations

from typing import Final, Never, Self, final

__all__ = ["Secret"]

_MASK: Final = "**********"


@final
class Secret:
    """A token, key or password that can't slip into a log line.

    `repr`, `str`, `format` and every text made of them show a mask; pickling and writing as JSON are refused; a copy is
    the secret itself. `reveal` is the one way out, so that a reader finds every use of the value by searching for that
    word.

    Raises:
        TypeError: The value is not a `str`.

    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a Secret holds text (str), not {type(value).__name__}")
        self._value = value

    def reveal(self) -> str:
        """Return the value itself; call it only where the value leaves for the backend."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_MASK!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # noqa: PLC0415 - loads a crypto library, seldom needed

        return compare_digest(self._value.encode(errors="surrogatepass"), other._value.encode(errors="surrogatepass"))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Never:
        raise TypeError("a Secret can't be pickled; reveal() it where it is needed")
