"""A card in software: an NTAG 424 DNA that computes what a real one adds to its URL at each tap."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

__all__ = ["SoftwareCard"]


@dataclass
class SoftwareCard:
    """A chip as a card-writing app leaves it.

    Attributes:
        url: What stands in its memory, without what a tap adds.
        encryption_key: Its key 1.
        signing_key: Its key 2.
        uid: What names it.
        counter: How often it was read.

    """

    url: str
    encryption_key: bytes
    signing_key: bytes
    uid: bytes = field(default_factory=lambda: b"\x04" + secrets.token_bytes(6))
    counter: int = 0

    def tap(self) -> str:
        """Read the card once more; gives the URL that the reader gets."""
        self.counter += 1
        return self.message(self.counter)

    def message(self, counter: int) -> str:
        """Return the URL that a tap with this counter gives."""
        p, c = self.picture(counter)
        return f"{self.url}{'&' if '?' in self.url else '?'}p={p}&c={c}"

    def picture(self, counter: int) -> tuple[str, str]:
        """Return `p` and `c` of a tap with this counter."""
        count = counter.to_bytes(3, "little")
        plain = b"\xc7" + self.uid + count + secrets.token_bytes(5)
        encryptor = Cipher(AES(self.encryption_key), CBC(bytes(16))).encryptor()
        sealed = encryptor.update(plain) + encryptor.finalize()
        session = self._sign(self.signing_key, b"\x3c\xc3\x00\x01\x00\x80" + self.uid + count)
        return sealed.hex().upper(), bytes(list(self._sign(session, b""))[1::2]).hex().upper()

    @staticmethod
    def _sign(key: bytes, message: bytes) -> bytes:
        signer = CMAC(AES(key))
        signer.update(message)
        return signer.finalize()
