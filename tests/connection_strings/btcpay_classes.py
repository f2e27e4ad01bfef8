"""How BTCPay's readers and ours agree about one text, as the name of a class."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from connection_strings import ConnectionString, ConnectionStringError, LightMoney
from connection_strings.bolt11.reader import Bolt11, read
from connection_strings.grammar import leniencies

__all__ = ["DIFFERENT", "SAME", "UNEXPLAINED", "bolt11_class", "money_class", "string_class"]

SAME: Final = "both read the same"
REFUSED: Final = "both refuse it"
DIFFERENT: Final = "both read it, and differ"
UNEXPLAINED: Final = "we alone read it, unexplained"
_OURS: Final = "we alone read it"
_BTCPAYS: Final = "BTCPay alone reads it"
_QUOTED: Final = re.compile(r"'[^']*'|\d+")


def string_class(text: str, answer: Any) -> str:
    """Compare a connection string; `answer` is what BTCPay reads, or its client's own text for `lndhub://`."""
    try:
        ours = ConnectionString.parse(text)
    except ConnectionStringError as error:
        return REFUSED if answer is None else f"{_BTCPAYS}: {_QUOTED.sub('...', error.reason)}"
    why = leniencies(text)
    if answer is None:
        if not why and ours.type == "clightning" and "=" not in text.partition("/")[0]:
            why = ("an address of an older form that is no URL to .NET",)
        return f"{_OURS}: {'; '.join(why)}" if why else UNEXPLAINED
    if isinstance(answer, str):
        parsed = ConnectionString.parse(answer)
        theirs = {"type": parsed.type, **parsed.values}
    else:
        theirs = {key.lower(): value for key, value in answer["values"].items()}
    mine = {"type": theirs["type"] if why else ours.type, **ours.values}
    plain = [{key: _plain(value) for key, value in each.items()} for each in (mine, theirs)]
    if plain[0] != plain[1]:
        older = (
            ours.type == "clightning" and theirs.keys() == {"type", "server"} and not text.lower().startswith("type")
        )
        if older:
            return f"{SAME}, but .NET writes the address of an older form in its own way"
        capitals = ours.type == "lndhub" and text.strip().startswith("LNDHUB://")
        return "lndhub:// in capitals, which BTCPay takes apart in the wrong place" if capitals else DIFFERENT
    return f"{SAME}, with a note: {'; '.join(why)}" if why else SAME


def _plain(value: str) -> str:
    """Undo what .NET does to a URL: lower case, the slash of an empty path, %XX for what a URL can't hold."""
    _, separator, _ = value.partition("://")
    return unquote(value).rstrip("/").lower() if separator else value


def money_class(text: str, answer: Any) -> str:
    """Compare an amount; `answer` has BTCPay's `msat`."""
    try:
        ours = LightMoney.parse(text).msat
    except ValueError as error:
        return REFUSED if answer is None else f"{_BTCPAYS}: {error}"
    bare = text.strip().lstrip("+-").isdigit()
    if answer is None and bare:
        return f"{_OURS}: a bare whole number that is too much as bitcoin"
    if answer is None:
        return f"{_OURS}: it has a unit" if text.strip()[-1:].isalpha() else UNEXPLAINED
    if ours == answer["msat"]:
        return SAME
    bare = bare and ours * 10**11 == answer["msat"]
    return "a bare whole number: bitcoin in BTCPay, millisatoshi here" if bare else DIFFERENT


def bolt11_class(text: str, answer: Any) -> str:
    """Compare a BOLT11; `answer` has BTCPay's values."""
    try:
        ours = read(text)
    except ValueError as error:
        return REFUSED if answer is None else f"{_BTCPAYS}: {error}"
    if answer is None:
        return f"{_OURS}: {_peculiarity(ours)}"
    mine = {
        "msat": ours.amount_msat or 0,
        "hash": ours.payment_hash.hex(),
        "secret": ours.payment_secret.hex(),
        "desc": ours.description,
        "dhash": None if ours.description_hash is None else ours.description_hash.hex(),
        "ts": ours.timestamp_seconds,
        "expiry": ours.expiry_seconds,
    }
    theirs = {**answer, "msat": answer["msat"] or 0, "desc": answer["desc"] if ours.description_hash is None else None}
    differing = sorted(name for name, value in mine.items() if value != theirs[name])
    return f"{DIFFERENT} in {', '.join(differing)}" if differing else SAME


def _peculiarity(ours: Bolt11) -> str:
    """Name what is unusual about a BOLT11 that BTCPay refuses."""
    if ours.expiry_seconds >= 2**31:
        return "its expiry is further away than BTCPay counts"
    if ours.payee is not None:
        return "its field n is not the key that signed it, which the driver refuses, too"
    if ours.description == "":
        return "its description is empty"
    return "it has a field of a wrong length"
