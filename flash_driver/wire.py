"""JSON as it goes over the wire: numbers with a fraction are `Decimal` both ways, never float."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

__all__ = ["MalformedJSON", "decode", "encode"]

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)


class MalformedJSON(ValueError):
    """The bytes are not JSON; the message says what is wrong and shows none of them."""


def encode(value: object) -> str:
    """Write JSON; a `Decimal` becomes a plain number, so give it a fixed number of decimals first."""
    return _encoder.encode(value).decode()


def decode(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        MalformedJSON: It is not JSON, or nests too deep.

    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise MalformedJSON(str(error)) from None
    except RecursionError:
        raise MalformedJSON("JSON nests too deep") from None
