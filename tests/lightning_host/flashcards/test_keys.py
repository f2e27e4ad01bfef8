from __future__ import annotations

import pytest

from connection_strings import Secret
from lightning_host.flashcards.keys import CardKeys, Seal, SealError

SEAL = Seal(Secret("a-key-that-seals-cards"))


def test_sealed_keys_open_again() -> None:
    """Keys come back as they were; two seals of the same keys differ, and neither shows a key."""
    keys = CardKeys.random()
    one, two = SEAL.close(keys, "card"), SEAL.close(keys, "card")
    assert SEAL.open(one, "card") == SEAL.open(two, "card") == keys
    assert one != two
    assert len(set(keys.revealed("k").values())) == 5
    for key in keys.revealed("k").values():
        assert len(key) == 32
        assert key not in repr(keys)


def test_sealed_keys_stay_closed() -> None:
    """Another secret, and a row that took another's place, open nothing; the error names the setting."""
    sealed = SEAL.close(CardKeys.random(), "card")
    for seal, label in ((Seal(Secret("another-key-than-this")), "card"), (SEAL, "another card")):
        with pytest.raises(SealError, match="FLASHCARD_KEY"):
            seal.open(sealed, label)


def test_digest_of_a_pin() -> None:
    """The same PIN has another digest at another card, and under another secret."""
    digests = {
        SEAL.digest_of_pin("a", "1234"),
        SEAL.digest_of_pin("b", "1234"),
        SEAL.digest_of_pin("a", "1235"),
        Seal(Secret("another-key-than-this")).digest_of_pin("a", "1234"),
    }
    assert len(digests) == 4
    assert SEAL.digest_of_pin("a", "1234") in digests
