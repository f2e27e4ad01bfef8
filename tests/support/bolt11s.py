"""BOLT11 in all its forms, written and read by packages that nobody here wrote."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import bolt11
from bech32 import CHARSET, bech32_decode, bech32_encode, convertbits
from bolt11.models.fallback import Fallback
from bolt11.models.features import Feature, Features, FeatureState
from bolt11.models.routehint import Route, RouteHint
from bolt11.models.signature import Signature
from bolt11.models.tags import Tag, TagChar, Tags
from coincurve import PrivateKey

from connection_strings.bolt11.reader import Bolt11, read
from flash_driver.bolt11.payment_request import signer

if TYPE_CHECKING:
    from random import Random

__all__ = ["CURRENCIES", "Draft", "octets", "random_invoice", "read_by_package", "read_signed"]

CURRENCIES: Final = {"bc": "bitcoin", "tb": "testnet", "tbs": "signet", "bcrt": "regtest"}
_SIGNATURE_GROUPS: Final = 104
_TIMESTAMP_GROUPS: Final = 7
_PICO_BTC: Final = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}
_PICO_BTC_PER_MSAT: Final = 10
_MAX_MSAT: Final = 21_000_000 * 10**11
_LETTERS: Final = 'aZ 0;\n"<é₿ナ杯👩‍🚀\u202e\x00'
_FEATURES: Final = {
    Feature.var_onion_optin: FeatureState.required,
    Feature.payment_secret: FeatureState.required,
    Feature.basic_mpp: FeatureState.supported,
}


def octets(value: bytes) -> list[int]:
    """Write bytes in groups of five bits."""
    return convertbits(value, 8, 5) or []


def _groups(number: int, length: int) -> list[int]:
    return [number >> 5 * place & 31 for place in reversed(range(length))]


@dataclass(slots=True)
class Draft:
    """A BOLT11 in its parts, right or wrong; writing it signs it and makes its checksum.

    Attributes:
        prefix: All before the last 1.
        timestamp: Seven groups of five bits.
        fields: Letter and data of each field, in groups of five bits.
        rest: What stands behind the last field.

    """

    prefix: str
    timestamp: list[int]
    fields: list[tuple[str, list[int]]]
    rest: list[int]

    @classmethod
    def of(cls, text: str) -> Draft:
        """Take a right BOLT11 apart."""
        prefix, data = bech32_decode(text)
        assert prefix is not None
        assert data is not None
        groups, fields, at = data[:-_SIGNATURE_GROUPS], list[tuple[str, list[int]]](), _TIMESTAMP_GROUPS
        while at < len(groups):
            end = at + 3 + groups[at + 1] * 32 + groups[at + 2]
            fields.append((CHARSET[groups[at]], groups[at + 3 : end]))
            at = end
        return cls(prefix, groups[:_TIMESTAMP_GROUPS], fields, [])

    def groups(self) -> list[int]:
        """Return what is signed, without the prefix."""
        data = list(self.timestamp)
        for letter, value in self.fields:
            data += [CHARSET.index(letter), *_groups(len(value), 2), *value]
        return data + self.rest

    def write(self, key: PrivateKey, *, recovery_id: int | None = None) -> str:
        """Sign it, and write it with its checksum.

        Args:
            key: Who signs.
            recovery_id: Written in place of the right one.

        """
        signed = bytes(convertbits(self.groups(), 5, 8) or [])
        signature = Signature.from_private_key(self.prefix, key.to_hex(), signed).signature_data
        if recovery_id is not None:
            signature = signature[:-1] + bytes([recovery_id])
        return bech32_encode(self.prefix, [*self.groups(), *octets(signature)])


def random_invoice(dice: Random) -> str:
    """Write an invoice that is right, in any of the forms that the package writes or reads."""
    text, key = _by_package(dice)
    draft = Draft.of(text)
    if dice.randrange(2):
        _add_what_the_package_never_writes(draft, dice)
        text = draft.write(key)
    return text.upper() if dice.randrange(8) == 0 else text


def _by_package(dice: Random) -> tuple[str, PrivateKey]:
    """Let the package write an invoice."""
    key = PrivateKey(dice.randbytes(32))
    tags = [Tag(TagChar.payment_hash, dice.randbytes(32).hex()), Tag(TagChar.payment_secret, dice.randbytes(32).hex())]
    if dice.randrange(3):
        description = "".join(dice.choices(_LETTERS, k=dice.randrange(40)))
        tags.append(Tag(TagChar.description, description))
    else:
        tags.append(Tag(TagChar.description_hash, dice.randbytes(32).hex()))
    optional: list[Tag] = [
        Tag(TagChar.expire_time, 2 ** dice.randrange(34) + dice.randrange(2)),
        Tag(TagChar.min_final_cltv_expiry, dice.randrange(1, 1000)),
        Tag(TagChar.features, Features.from_feature_list(_FEATURES)),  # type: ignore[arg-type]  # a mapping of another key type
        Tag(TagChar.metadata, dice.randbytes(dice.randrange(1, 9)).hex()),
        Tag(TagChar.payee, key.public_key.format().hex()),
        Tag(TagChar.fallback, Fallback.from_address("mk2QpYatsKicvFVuTAQLBryyccRXMUaGHP", "tb")),
        Tag(TagChar.route_hint, RouteHint.from_list([_hop(dice) for _ in range(dice.randrange(1, 3))])),
    ]
    tags += [tag for tag in optional if dice.randrange(2)]
    dice.shuffle(tags)
    msat = dice.randrange(1, 10 ** dice.randrange(1, 14)) if dice.randrange(5) else None
    invoice = bolt11.Bolt11(
        currency=dice.choice([*CURRENCIES]),
        date=dice.randrange(1, 2**33),
        tags=Tags(tags),
        amount_msat=None if msat is None else bolt11.MilliSatoshi(msat),
    )
    return bolt11.encode(invoice, key.to_hex(), keep_payee=True), key


def _hop(dice: Random) -> dict[str, Any]:
    return Route(dice.randbytes(33).hex(), "589390x3312x1", 1000, 2500, 40)._asdict()


def _add_what_the_package_never_writes(draft: Draft, dice: Random) -> None:
    """Put in unknown fields, fields of wrong length or said twice, leading zeros, and odd forms of the amount."""
    for _ in range(dice.randrange(1, 4)):
        length = dice.randrange(1, 60)
        letter = dice.choice("qyzg82tvw0j54ke6ual")
        if dice.randrange(2):
            letter, length = dice.choice([("p", 51), ("p", 53), ("s", 51), ("h", 53), ("n", 52), ("n", 54)])
        field = (letter, [dice.randrange(32) for _ in range(length)])
        draft.fields.insert(dice.randrange(len(draft.fields) + 1), field)
    if dice.randrange(2):
        right = [letter for letter, value in draft.fields if letter in "dx" or (letter == "h" and len(value) == 52)]
        draft.fields.append((dice.choice(right), octets(dice.randbytes(32))))
    draft.fields = [
        (letter, [0] * dice.randrange(3) + value if letter == "x" else value) for letter, value in draft.fields
    ]
    currency = next(name for name in sorted(CURRENCIES, key=len, reverse=True) if draft.prefix[2:].startswith(name))
    multiplier = dice.choice([*_PICO_BTC])
    step = _PICO_BTC_PER_MSAT if multiplier == "p" else 1
    most = _MAX_MSAT * _PICO_BTC_PER_MSAT // _PICO_BTC[multiplier] // step
    number = min(most, dice.randrange(1, 10 ** dice.randrange(1, len(str(most)) + 1)))
    draft.prefix = f"ln{currency}{number * step}{multiplier}"


def read_signed(text: str) -> Bolt11:
    """Read a BOLT11 as the driver does, with the key of the node that signed it in place of field `n`.

    Raises:
        ValueError: It is none, or its signature is not right.

    """
    found = read(text)
    return replace(found, payee=signer(found))


def read_by_package(text: str) -> Bolt11:
    """Let the package read a BOLT11.

    Raises:
        Exception: Whatever the package and its parts raise when they refuse one.

    """
    found = bolt11.decode(text)
    assert found.payment_secret is not None
    assert found.payee is not None
    return Bolt11(
        network=CURRENCIES[found.currency],
        amount_msat=None if found.amount_msat is None else int(found.amount_msat),
        timestamp_seconds=found.date,
        expiry_seconds=found.expiry,
        payment_hash=bytes.fromhex(found.payment_hash),
        payment_secret=bytes.fromhex(found.payment_secret),
        description=found.description,
        description_hash=None if found.description_hash is None else bytes.fromhex(found.description_hash),
        payee=bytes.fromhex(found.payee),
        features=_bits(text),
        signed=b"",
        signature=b"",
    )


def _bits(text: str) -> int:
    """Return field `9` as a number: the package knows some features by name and loses others."""
    bits = next((value for letter, value in Draft.of(text).fields if letter == "9"), [])
    return sum(value << 5 * place for place, value in enumerate(reversed(bits)))
