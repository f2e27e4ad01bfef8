"""JSON as it goes over the wire: numbers with a fraction are `Decimal` both ways, never float."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

__all__ = ["MalformedJSON", "decode", "encode", "write"]

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)


class MalformedJSON(ValueError):
    """The bytes are not JSON; the message says what is wrong and shows none of them."""


def write(value: object) -> bytes:
    """Write JSON; a `Decimal` becomes a number without exponent, which the server would not read (flash-server.md 4).

    Raises:
        ValueError: A number is not finite, or a text is not Unicode.

    """
    return _encoder.encode(_plain(value))


def encode(value: object) -> str:
    """Write JSON as `write` does, into a text.

    Raises:
        ValueError: A number is not finite, or a text is not Unicode.

    """
    return write(value).decode()


def decode(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        MalformedJSON: It is not JSON, nests too deep, or has a number beyond all bounds.

    """
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError as error:
        raise MalformedJSON(str(error)) from None
    except UnicodeError:
        raise MalformedJSON("it is not UTF-8") from None
    except RecursionError:
        raise MalformedJSON("it nests too deep") from None
    except InvalidOperation:
        raise MalformedJSON("a number is beyond all bounds") from None


def _plain(value: object) -> object:
    """Return the same value with each `Decimal` written out."""
    if isinstance(value, dict):
        plain = dict(value)
        for key, each in value.items():
            if not isinstance(each, str | int):
                plain[key] = _plain(each)
        return plain
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError("a number that is not finite can't be written as JSON")
        return msgspec.Raw(format(value, "f").encode())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
