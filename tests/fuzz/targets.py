"""What is fuzzed: each target takes any bytes and returns, or raises because a promise is broken."""

from __future__ import annotations

import asyncio
import contextlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connection_strings import ConnectionString, ConnectionStringError, InvalidReply, InvalidRequest
from connection_strings.bolt11 import bech32
from connection_strings.bolt11.reader import read
from connection_strings.destination import read_destination
from connection_strings.payee import read_pay_terms
from flash_driver.common import exact_json
from flash_driver.common.masking import LONGEST_SHOWN, shown
from flash_driver.settings.account import FlashSettings
from flash_driver.transports.http import read_reply, read_retry_after
from flash_driver.transports.websocket.protocol import GraphQLTransportWS, ProtocolViolation
from lightning_host.web.bodies import read_form, read_json
from lightning_host.web.problems import ProblemError
from tests.support.bolt11s import read_by_package
from tests.support.readers import classify_everywhere, read_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CORPUS", "TARGETS", "seeds_of"]

CORPUS: Final = Path(__file__).with_name("corpus")


def connection_string(data: bytes) -> None:
    """A text is a connection string that reads back the same, or an error that names no value."""
    text = data.decode(errors="surrogateescape")
    try:
        parsed = ConnectionString.parse(text)
    except ConnectionStringError:
        return
    assert ConnectionString.parse(parsed.render()) == parsed
    with contextlib.suppress(ConnectionStringError):
        FlashSettings.from_connection_string(parsed)


def bolt11(data: bytes) -> None:
    """A BOLT11, its checksum mended, is read as the package reads it, or refused in words."""
    text = data.decode(errors="replace")
    prefix, _, letters = text.lower().rpartition("1")
    for each in (text, bech32.encode(prefix, bech32.digits(re.sub("[^a-z0-9]", "", letters)[:-6])) if prefix else ""):
        try:
            ours = read(each)
        except ValueError:
            continue
        try:
            theirs = read_by_package(each)
        except Exception:  # noqa: BLE001, S112 - it raises whatever its parts raise; test_reader.py looks at those cases
            continue
        assert ours.payment_hash == theirs.payment_hash
        assert ours.amount_msat == theirs.amount_msat
        assert ours.expiry_seconds == theirs.expiry_seconds


def websocket_protocol(data: bytes) -> None:
    """Any texts, one after another, are events or one violation that shows nothing of them."""
    protocol = GraphQLTransportWS()
    protocol.init({})
    for text in data.decode(errors="replace").split("\n"):
        try:
            protocol.receive(text)
        except ProtocolViolation as violation:
            assert len(str(violation)) < 100  # noqa: PT017 - a promise about what is raised
            return


def replies(data: bytes) -> None:
    """Any answer, event or error is read into a value or an error of the contract; shown text is short."""
    read_reply(200, {}, data)
    try:
        value = exact_json.decode(data)
    except exact_json.MalformedJSON:
        return
    classify_everywhere(value)
    if isinstance(value, dict):
        read_everywhere(value)
        with contextlib.suppress(InvalidReply):
            read_pay_terms(value)


def words(data: bytes) -> None:
    """Words of a server are shown short, on one line, without a token; a header tells a wait of a day at most."""
    text = data.decode(errors="replace")
    line = shown(text)
    assert len(line) <= LONGEST_SHOWN
    assert "\n" not in line
    assert re.search(r"ory_st_[A-Za-z0-9]", line) is None
    wait = read_retry_after({"Retry-After": text, "Date": text[::-1]})
    assert wait is None or 0 <= wait.total_seconds() <= 86_400


def host_body(data: bytes) -> None:
    """A body, JSON or a form, is fields or a problem; each field of it is read, or refused by name."""
    for kind, take in (("application/json", read_json), ("application/x-www-form-urlencoded", read_form)):

        async def ask(kind: str = kind, take: Any = take) -> None:
            fields = await take(_Request(kind, data), 5)
            for name in list(fields):
                for get in (fields.text, fields.whole, fields.flag, fields.msat, fields.mapping):
                    with contextlib.suppress(ProblemError):
                        get(name)
                with contextlib.suppress(ProblemError):
                    fields.decimal(name, most=100)

        with contextlib.suppress(ProblemError):
            _runner().run(ask())


def lnurl(data: bytes) -> None:
    """Whatever somebody pastes is a BOLT11, a link, or an error that says what to do."""
    with contextlib.suppress(InvalidRequest):
        read_destination(data.decode(errors="surrogateescape"))


@cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner()


class _Request:
    """What the readers of bodies use of a request; aiohttp's own test request takes a tenth of a second to make."""

    can_read_body = True
    charset = None

    def __init__(self, content_type: str, body: bytes) -> None:
        self.content_type = content_type
        self.headers: dict[str, str] = {}
        self._body = body

    async def read(self) -> bytes:
        return self._body


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    each.__name__: each for each in (connection_string, bolt11, websocket_protocol, replies, words, host_body, lnurl)
}
"""Each by its name, which is also the folder of its corpus."""


def seeds_of(name: str) -> list[bytes]:
    """Return the corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
