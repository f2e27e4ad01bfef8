from __future__ import annotations

import pytest

from connection_strings import Secret
from lightning_host.flashcards.sun import Sun, cmac, read_sun
from tests.support.software_card import SoftwareCard

DECRYPTING, SIGNING = Secret("0c3b25d92b38ae443229dd59ad34b85d"), Secret("b45775776cb224c75bcde7ca3704e933")
"""The keys of the card that the Bolt Card specification took its vectors from (docs/TEST_VECTORS.md)."""

VECTORS = [
    ("4E2E289D945A66BB13377A728884E867", "E19CCB1FED8892CE", 3),
    ("00F48C4F8E386DED06BCDC78FA92E2FE", "66B4826EA4C155B4", 5),
    ("0DBF3C59B59B0638D60B5842A997D4D1", "CC61660C020B4D96", 7),
]


@pytest.mark.parametrize(("p", "c", "counter"), VECTORS)
def test_vectors_of_the_specification(p: str, c: str, counter: int) -> None:
    """UID and counter of a real card's taps are read as the specification says, in either case of hex."""
    for written in ((p, c), (p.lower(), c.lower())):
        assert read_sun(DECRYPTING, SIGNING, *written) == Sun("04996c6a926980", counter)


def test_keys_that_are_derived_from_one() -> None:
    """AES-CMAC agrees with the vectors for derived keys (docs/DETERMINISTIC.md), and with RFC 4493."""
    k0, uid = bytes(15) + b"\x01", bytes.fromhex("04a39493cc8680")
    k1 = cmac(k0, bytes.fromhex("2d003f77") + bytes.fromhex("01000000"))
    assert k1.hex() == "aa104a0bef8f751add9f06c5f000837a"
    derived = [cmac(k1, bytes.fromhex(f"2d003f7{digit}") + uid).hex() for digit in "89a"]
    assert derived == [
        "c98b6607222caffcac227f4f6241bd68",
        "d6e5ce82ec27f9d8c5d91d7c0c3a9f80",
        "d9352ff7ed7b43a13980a8c78aa4383a",
    ]
    assert cmac(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), b"").hex() == "bb1d6929e95937287fa37d129b756746"


@pytest.mark.parametrize(
    ("p", "c"),
    [
        ("", ""),
        ("4E2E289D945A66BB13377A728884E867", ""),
        ("4E2E289D945A66BB13377A728884E867", "E19CCB1FED8892CF"),
        ("4E2E289D945A66BB13377A728884E868", "E19CCB1FED8892CE"),
        ("4E2E289D945A66BB13377A728884E867", "66B4826EA4C155B4"),
        ("4E2E289D945A66BB13377A728884E8", "E19CCB1FED8892CE"),
        ("4E2E289D945A66BB13377A728884E867E867", "E19CCB1FED8892CE"),
        ("zz2E289D945A66BB13377A728884E867", "E19CCB1FED8892CE"),
        ("\uff14E2E289D945A66BB13377A728884E867", "E19CCB1FED8892CE"),
    ],
)
def test_what_no_card_said(p: str, c: str) -> None:
    """What is cut, changed, of another tap or no hex at all is not believed."""
    assert read_sun(DECRYPTING, SIGNING, p, c) is None


def test_another_card_is_not_believed() -> None:
    """A card with either key wrong is unknown; the software card says what the specification's card said."""
    keys = bytes.fromhex(DECRYPTING.reveal()), bytes.fromhex(SIGNING.reveal())
    card = SoftwareCard("lnurlw://host/card", *keys, uid=bytes.fromhex("04996c6a926980"))
    assert card.picture(3)[1] == VECTORS[0][1]
    assert read_sun(DECRYPTING, SIGNING, *card.picture(2**24 - 1)) == Sun("04996c6a926980", 2**24 - 1)
    other = Secret("00" * 16)
    assert read_sun(other, SIGNING, *card.picture(4)) is None
    assert read_sun(DECRYPTING, other, *card.picture(4)) is None
