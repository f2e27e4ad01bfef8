"""The keys of a card: five of AES-128, made at random for each card and kept sealed.

The seal is the setting FLASHCARD_KEY, which is not in the database: who has a copy of the database alone can neither
make a card nor try PINs.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connection_strings import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CardKeys", "Seal", "SealError"]

_KEY_BYTES: Final = 16
_NONCE_BYTES: Final = 12


class SealError(Exception):
    """Sealed keys can't be opened: FLASHCARD_KEY is another one than when they were sealed."""


@dataclass(frozen=True, slots=True)
class CardKeys:
    """The keys of one card, each 32 digits of hex, in the order of the chip.

    Attributes:
        k0: Changes the other keys, and itself.
        k1: Encrypts what the card says at a tap.
        k2: Signs it.
        k3: Not used, and set nevertheless: a key that is left at zeros is known to anybody.
        k4: The same.

    """

    k0: Secret
    k1: Secret
    k2: Secret
    k3: Secret
    k4: Secret

    @classmethod
    def random(cls) -> Self:
        """Make the keys of a new card."""
        return cls(*(Secret(secrets.token_hex(_KEY_BYTES)) for _ in range(5)))

    def revealed(self, prefix: str) -> Mapping[str, str]:
        """Return the keys by name, for who writes them to a card: `prefix` and a digit."""
        return {
            f"{prefix}{digit}": key.reveal() for digit, key in enumerate((self.k0, self.k1, self.k2, self.k3, self.k4))
        }


class Seal:
    """Seals keys with AES-256-GCM, and makes digests of PINs, both under keys derived from one secret."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    def close(self, keys: CardKeys, label: str) -> str:
        """Seal keys; they open under the same label only, so that no row can take another's place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = bytes.fromhex("".join(keys.revealed("").values()))
        return base64.b64encode(nonce + AESGCM(self._derived("seal")).encrypt(nonce, plain, label.encode())).decode()

    def open(self, sealed: str, label: str) -> CardKeys:
        """Open sealed keys.

        Raises:
            SealError: They were sealed under another secret or label.

        """
        keys = self._opened(sealed, label)
        if keys is None:
            raise SealError("the keys of this card were sealed with another FLASHCARD_KEY")
        return keys

    def digest_of_pin(self, card_id: str, pin: str) -> str:
        """Return what is kept of a PIN: without this secret nobody can try the ten thousand there are."""
        return hmac.digest(self._derived("pin"), f"{card_id} {pin}".encode(), "sha256").hex()

    def _opened(self, sealed: str, label: str) -> CardKeys | None:
        whole = base64.b64decode(sealed)
        try:
            plain = AESGCM(self._derived("seal")).decrypt(whole[:_NONCE_BYTES], whole[_NONCE_BYTES:], label.encode())
        except InvalidTag:
            return None
        return CardKeys(
            *(Secret(plain[at : at + _KEY_BYTES].hex()) for at in range(0, len(plain), _KEY_BYTES)),
        )

    def _derived(self, use: str) -> bytes:
        kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"lightning-host flashcards {use}".encode())
        return kdf.derive(self._secret.reveal().encode())
