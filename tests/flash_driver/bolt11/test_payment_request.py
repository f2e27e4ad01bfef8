"""BOLT11 payment requests: the specification's own examples, and everything that is not one."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bolt11 import encode
from bolt11.models.tags import Tag, TagChar, Tags
from bolt11.types import Bolt11
from hypothesis import given, settings
from hypothesis import strategies as st

from connection_strings import LightMoney
from connection_strings.errors import InvalidReply, InvalidRequest
from flash_driver.bolt11.payment_request import PaymentRequest, decode, decode_reply
from flash_driver.sandbox.bank.signer import InvoiceSigner
from tests.support.thorough import cases

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "bolt11.json").read_text()
)
COFFEE = VECTORS["valid"][1]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def checksum(prefix: str, data: list[int]) -> list[int]:
    """Bech32's checksum (BIP 173), so that the fuzzer gets past it."""
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + data + [0] * 6
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return [(check ^ 1) >> 5 * (5 - place) & 31 for place in range(6)]


def behind(prefix: str) -> str:
    """Put another prefix before the fields of a valid example, and make the checksum right again."""
    text = COFFEE["bolt11"]
    data = [BECH32.index(char) for char in text[text.rindex("1") + 1 : -6]]
    return prefix + "1" + "".join(BECH32[value] for value in data + checksum(prefix, data))


def named(rows: list[dict[str, Any]]) -> Any:
    """Turn rows of the data file into named parameters."""
    return [pytest.param(row, id=row["name"]) for row in rows]


def signed(msat: int | None = 1_000_000, network: str = "bcrt") -> PaymentRequest:
    """Decode a fresh invoice of the sandbox's signer."""
    signer = InvoiceSigner().sign(
        msat=msat,
        description="coffee",
        now=NOW,
        expiry=timedelta(seconds=60),
        network="bc" if network == "bc" else "bcrt",
    )
    return decode_reply(signer.payment_request)


@pytest.mark.parametrize("row", named(VECTORS["valid"] + VECTORS["left_to_the_payer"]))
def test_examples_of_the_specification_decode(row: dict[str, Any]) -> None:
    """Every valid example of BOLT 11 yields the fields that the specification reads off it."""
    request = decode(row["bolt11"])
    if "payment_hash" not in row:
        return
    assert request.bolt11 == row["bolt11"].lower()
    assert request.network == row["network"]
    assert request.payment_hash == row["payment_hash"]
    assert request.amount_msat == row["amount_msat"]
    assert request.description == row["description"]
    assert request.description_hash == row["description_hash"]
    assert request.created_at == datetime.fromtimestamp(row["timestamp"], UTC)
    assert request.expires_at - request.created_at == timedelta(seconds=row["expiry_seconds"])


@pytest.mark.parametrize("row", named(VECTORS["invalid"]))
def test_invalid_examples_are_refused(row: dict[str, Any]) -> None:
    """Every invalid example is the caller's mistake from a host, and an unusable answer from the server."""
    with pytest.raises(InvalidRequest, match="is not a BOLT11"):
        decode(row["bolt11"])
    with pytest.raises(InvalidReply, match="not a BOLT11"):
        decode_reply(row["bolt11"])


@pytest.mark.parametrize("prefix", ["lightning:", "LIGHTNING:", "  lightning:"])
@pytest.mark.parametrize("upper", [False, True])
def test_takes_a_link_in_either_case(prefix: str, *, upper: bool) -> None:
    """What a QR code or a link says is taken, and kept in lower case."""
    text = COFFEE["bolt11"].upper() if upper else COFFEE["bolt11"]
    assert decode(f"{prefix}{text}\n").bolt11 == COFFEE["bolt11"]


def test_server_sends_no_link() -> None:
    """A `lightning:` in front is taken off for people; a server that sends one is not believed."""
    with pytest.raises(InvalidReply):
        decode_reply(f"lightning:{COFFEE['bolt11']}")


@pytest.mark.parametrize(
    "text",
    ["", "l", "ln", "lnbc", "lnbc1", "lnxx1qqqq", "lnbc-1", "1", "ln" + "b" * 8000, "\udc00", "ł" * 40],
)
def test_no_payment_request_at_all(text: str) -> None:
    """Anything else is refused in words."""
    with pytest.raises(InvalidRequest, match="bolt11: is not a BOLT11 payment request"):
        decode(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bitcoin:bc1qxyz?amount=1", "is a BIP21 link without a Lightning invoice"),
        (f"bitcoin:bc1qxyz?lightning={COFFEE['bolt11']}", "is a link around an invoice"),
        ("ada@shop.example", "is a Lightning address or an LNURL"),
        ("lnurl1dp68gurn8ghj7", "is an LNURL with a typing error"),
        ("lnurlw://shop.example/x", "is an LNURL-withdraw link"),
        ("lno1qgsq", "is a BOLT 12 offer"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "is an on-chain address"),
        ("https://shop.example/menu", "is a web address"),
    ],
)
def test_what_else_people_paste_is_named(text: str, words: str) -> None:
    """What is something else that is known is called by its name, and not a BOLT11 with a typing error."""
    with pytest.raises(InvalidRequest, match=words):
        decode(text)


@pytest.mark.parametrize(
    ("prefix", "what"),
    [
        ("lnbc0", "an amount of nothing"),
        ("lnbc02500u", "a leading zero"),
        ("lnbcm", "a multiplier of nothing"),
        ("lnbc2500x", "an unknown multiplier"),
        ("lnbc1p", "a tenth of a millisatoshi"),
        ("lnbc21000001", "more than all bitcoin"),
        ("lnbc" + "9" * 4500, "a number of thousands of digits"),
        ("lnbc\u0662u", "digits of another script"),
    ],
)
def test_odd_amounts_are_refused(prefix: str, what: str) -> None:
    """An amount that the specification does not allow is refused, whatever the library makes of it."""
    assert what
    with pytest.raises(InvalidRequest):
        decode(behind(prefix))


def test_all_bitcoin_there_is() -> None:
    """The largest and the smallest amount decode to the millisatoshi."""
    assert decode(behind("lnbc21000000")).amount_msat == LightMoney.MAX.msat
    assert decode(behind("lnbc21000000000m")).amount_msat == LightMoney.MAX.msat
    assert decode(behind("lnbc10p")).amount_msat == 1


def test_expiry_beyond_all_time() -> None:
    """An expiry that no calendar has is refused."""
    tags = Tags(
        [
            Tag(TagChar.payment_hash, "11" * 32),
            Tag(TagChar.payment_secret, "22" * 32),
            Tag(TagChar.description, "x"),
            Tag(TagChar.expire_time, 2**40),
        ]
    )
    text = encode(Bolt11(currency="bc", date=1_700_000_000, tags=tags), "33" * 32)
    with pytest.raises(InvalidReply, match="expires beyond all time"):
        decode_reply(text)


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet=BECH32 + "1bo", max_size=300).map("lnbc1".__add__))
def test_only_its_own_errors_escape(text: str) -> None:
    """Whatever is handed in, decoding ends with a request or with its documented error."""
    for read, error in ((decode, InvalidRequest), (decode_reply, InvalidReply)):
        try:
            request = read(text)
        except error:
            continue
        assert isinstance(request, PaymentRequest)


@settings(max_examples=cases(60, 1500), deadline=None)
@given(
    st.sampled_from(["lnbc", "lntb", "lntbs", "lnbcrt", "lnbc2500u", "lnbc1p", "lnbc10p", "lnbcx"]),
    st.lists(st.integers(0, 31), max_size=240),
)
def test_damaged_fields_behind_a_right_checksum(prefix: str, data: list[int]) -> None:
    """Fields of any shape behind a right checksum do no more harm than noise does."""
    text = prefix + "1" + "".join(BECH32[value] for value in data + checksum(prefix, data))
    with contextlib.suppress(InvalidReply):
        assert decode_reply(text).bolt11 == text


@settings(max_examples=cases(40, 1000), deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(BECH32))
def test_no_single_change_goes_unnoticed(place: int, char: str) -> None:
    """Each single changed character of the data is found out by the checksum."""
    text = COFFEE["bolt11"]
    at = text.rindex("1") + 1 + place % (len(text) - text.rindex("1") - 1)
    changed = text[:at] + char + text[at + 1 :]
    if changed != text:
        with pytest.raises(InvalidRequest):
            decode(changed)


# --- what the server made, compared with what was asked --------------------------------------------------------------


def test_a_right_invoice_passes() -> None:
    """An invoice for the network, hash and kind asked for passes, also when nothing is known of the network."""
    request = signed()
    for network in ("regtest", None, "a network of the future"):
        request.check(network=network, payment_hash=request.payment_hash, amountless=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "mainnet"}, "for the network regtest, expected bitcoin"),
        ({"payment_hash": "00" * 32}, "another payment hash"),
        ({"amountless": True}, "an amount into an invoice that was to have none"),
    ],
)
def test_a_wrong_invoice_is_not_believed(changes: dict[str, Any], words: str) -> None:
    """Each difference from what was asked for is named."""
    request = signed()
    asked = {"network": "regtest", "payment_hash": request.payment_hash, "amountless": False, **changes}
    with pytest.raises(InvalidReply, match=words):
        request.check(**asked)


def test_an_invoice_without_a_life_is_not_believed() -> None:
    """One that expires the moment it is signed can't be paid; any other can, whatever this machine's clock says."""
    born_dead = replace(signed(), expires_at=NOW)
    with pytest.raises(InvalidReply, match="no time to pay"):
        born_dead.check(network=None, payment_hash=born_dead.payment_hash, amountless=False)


def test_a_missing_amount_is_not_believed() -> None:
    """Zero cents make an amountless invoice at Flash (flash-server.md 3.4): not what was asked for."""
    request = signed(msat=None)
    with pytest.raises(InvalidReply, match="without the amount"):
        request.check(network=None, payment_hash=request.payment_hash, amountless=False)
