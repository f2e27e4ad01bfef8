"""Reading what a client sends: bounded in size and time, and checked field by field."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import contextmanager
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl

from aiohttp.web_exceptions import HTTPRequestEntityTooLarge

from connection_strings import InvalidRequest, LightMoney
from lightning_host.web.problems import Problem, ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiohttp import web

__all__ = ["Fields", "read_form", "read_json"]

_MOST_DIGITS: Final = 30
_MOST_FIELDS: Final = 100
_LONGEST_NUMBER: Final = 1_000
_LONGEST_NAME: Final = 50
_WHOLE: Final = re.compile(r"-?[0-9]+")
_DECIMAL: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_Value = TypeVar("_Value")


async def read_json(request: web.Request, seconds: float) -> Fields:
    """Read a body that is a JSON object.

    Raises:
        ProblemError: It is not, or it did not come in time (408).
        HTTPRequestEntityTooLarge: It is larger than the application takes.

    """
    body = await _read(request, seconds)
    try:
        value = json.loads(
            body.decode(), parse_float=_parse_decimal, parse_int=_parse_int, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        raise ProblemError.make(400, "bad-request", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise ProblemError.make(400, "bad-request", "the body is not a JSON object")
    return Fields(value)


async def read_form(request: web.Request, seconds: float) -> Fields:
    """Read a body that is a form, URL-encoded; an empty body is an empty form.

    Raises:
        ProblemError: It is not, or it did not come in time (408).
        HTTPRequestEntityTooLarge: It is larger than the application takes.

    """
    if request.can_read_body and request.content_type != "application/x-www-form-urlencoded":
        raise ProblemError.make(415, "unsupported-media-type", "the body must be a URL-encoded form")
    body = await _read(request, seconds)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise ProblemError.make(400, "bad-request", "the body is not a form") from None
    return Fields(dict(reversed(pairs)))  # of a field that is there twice the first counts


class Fields:
    """The fields of a request; what is wrong with one is a `ProblemError` (422) that names it.

    A reader raises at once. Within a block of `together` it goes on instead, with a value that stands in for the wrong
    one, and the end of the block raises for all fields that are wrong.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        # Names count in lower case: BTCPay reads them so.
        self._values = {name.lower(): value for name, value in values.items() if value is not None}
        self._written = {name.lower(): name for name in values}
        self._wrong: dict[str, str] = {}
        self._together = False

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    @contextmanager
    def together(self, *known: str) -> Iterator[None]:
        """Read fields in the block, and tell at its end all that is wrong with them.

        Args:
            known: All fields that there are; another one is wrong, unless it is null. None are checked if it is empty.

        Raises:
            ProblemError: At the end of the block, or by `refuse`, with all that was found until then.

        """
        self._together = True
        if known:
            self._refuse_others(known)
        try:
            yield
        except InvalidRequest as error:  # of what was made from the fields, perhaps of a value that stands in
            self.note(error.field, error.reason)
        self._together = False
        if self._wrong:
            raise ProblemError(_validation(self._wrong))

    def is_null(self, name: str) -> bool:
        """Whether a field is there and has no value."""
        return name.lower() in self._written and name not in self

    def text(self, name: str, *, default: str | None = None, longest: int = 4096) -> str:
        """Read a text."""
        value = self._values.get(name.lower(), default)
        if value is None:
            return self._note(name, "is missing", "")
        if not isinstance(value, str):
            return self._note(name, "must be a text", "")
        if len(value) > longest:
            return self._note(name, f"must not be longer than {longest} characters", "")
        try:
            value.encode()
        except UnicodeEncodeError:
            return self._note(name, "has half a character", "")
        if "\x00" in value:
            return self._note(name, "has a character that no text has", "")
        return value

    def whole(self, name: str, *, default: int | None = None, least: int = 0, most: int = 2**53) -> int:
        """Read a whole number, written as a number or as a text."""
        value = self._values.get(name.lower(), default)
        if value is None:
            return self._note(name, "is missing", least)
        number = _whole(value)
        if number is None:
            return self._note(name, "must be a whole number", least)
        if number < 0 <= least:
            return self._note(name, "must not be negative", least)
        if not least <= number <= most:
            return self._note(name, f"must be from {least} to {most}", least)
        return number

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read true or false."""
        value = self._values.get(name.lower(), default)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            return self._note(name, "must be true or false", default)
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Read an object; what is in it has not been checked."""
        value = self._values.get(name.lower())
        if not isinstance(value, dict):
            return self._note(name, "must be an object", {})
        return value

    def msat(self, name: str) -> LightMoney:
        """Read an amount in millisatoshi."""
        return LightMoney.from_msat(self.whole(name, most=LightMoney.MAX.msat))

    def sat(self, name: str) -> LightMoney:
        """Read an amount in whole satoshi."""
        return LightMoney.from_sat(self.whole(name, most=LightMoney.MAX.msat // 1_000))

    def decimal(self, name: str, *, most: int) -> Decimal:
        """Read a decimal number from zero up, written as a number or as a text."""
        text = str(self._values.get(name.lower(), ""))
        if _DECIMAL.fullmatch(text) is None:
            return self._note(name, "must be a plain decimal number", Decimal(0))
        number = Decimal(text)
        if number > most:
            return self._note(name, f"must be from 0 to {most}", Decimal(0))
        return number

    def note(self, name: str, reason: str) -> None:
        """Say what is wrong with a field, and go on to the end of the block of `together` if there is one."""
        self._note(name, reason, None)

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Say what is wrong with a field, and go no further."""
        self._wrong.setdefault(name, reason)  # of one field the first reason
        raise ProblemError(_validation(self._wrong))

    def _note(self, name: str, reason: str, instead: _Value) -> _Value:
        if not self._together:
            self.refuse(name, reason)
        self._wrong.setdefault(name, reason)
        return instead

    def _refuse_others(self, known: tuple[str, ...]) -> None:
        lower = {name.lower(): name for name in known}
        for name in [each for each in self._values if each not in lower]:
            meant = get_close_matches(name, lower, n=1)
            hint = f"; did you mean {lower[meant[0]]}?" if meant else ""
            self.note(self._written[name][:_LONGEST_NAME], f"is not known here{hint}")


def _validation(wrong: Mapping[str, str]) -> Problem:
    words, fields = "; ".join(wrong.values()), tuple(wrong.items())
    return Problem(status=422, code="validation-error", message=words, public=words, fields=fields)


async def _read(request: web.Request, seconds: float) -> bytes:
    """Read a body as it is: not compressed, and UTF-8, since decoding anything else may cost far more than its size."""
    coding, charset = request.headers.get("Content-Encoding", "identity"), request.charset or "utf-8"
    if coding.lower() != "identity" or charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise ProblemError.make(415, "unsupported-media-type", "the body must be UTF-8 and not compressed")
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        # What is left of the body can't be told from the next request.
        raise ProblemError.make(
            408, "request-timeout", "the body did not come in time", headers={"Connection": "close"}
        ) from None
    except HTTPRequestEntityTooLarge:
        raise ProblemError.make(413, "too-large", "the body is too large") from None


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal):
        value = str(value)
    if not isinstance(value, str) or len(value) > _MOST_DIGITS or _WHOLE.fullmatch(value) is None:
        return None
    return int(value)


def _parse_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number with too many digits")
    return int(digits)


def _parse_decimal(text: str) -> Decimal:
    """Read a number with a point or an exponent; one that no amount can have is refused before it is made."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise ValueError("a number out of range") from None
    if len(text) > _LONGEST_NUMBER or abs(number.adjusted()) > _LONGEST_NUMBER:
        raise ValueError("a number out of range")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
