"""The curve in plain Python agrees with the C library about every signature, right or wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from coincurve import PrivateKey, PublicKey

from connection_strings.bolt11.reader import read
from flash_driver.bolt11.payment_request import _der, signer
from flash_driver.common import secp256k1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
N, P = secp256k1._N, secp256k1._P
R_EDGES = (0, 1, N - 1, N, P - N - 1, P - N, 2**256 - 1)
S_EDGES = (0, 1, N // 2, N // 2 + 1, N - 1, N, 2**256 - 1)


def octets(number: int) -> bytes:
    """Write a number in 32 bytes."""
    return number.to_bytes(32, "big")


def outcome(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what comes of a call, None for a refusal."""
    try:
        return work(*arguments)
    except ValueError:
        return None


def recovered(signature: bytes, message: bytes) -> bytes:
    """Recover a key by the C library."""
    return bytes(PublicKey.from_signature_and_message(signature, message).format())


def checked(key: bytes, signature: bytes, message: bytes) -> bool:
    """Check a signature by the C library."""
    return bool(PublicKey(key).verify(_der(signature), message))


def signatures(random: Random, right: bytes) -> Iterator[bytes]:
    """Give a right signature, and some that are near it, at an edge, or of nobody."""
    r, s, recovery_id = right[:32], right[32:64], right[64]
    yield right
    yield r + octets(N - int.from_bytes(s, "big")) + bytes([recovery_id ^ 1])
    yield r + s + bytes([random.randrange(4, 256)])
    yield r + random.randbytes(32) + bytes([random.randrange(4)])
    yield random.randbytes(64) + bytes([random.randrange(4)])
    yield octets(random.choice(R_EDGES)) + s + bytes([random.randrange(4)])
    yield r + octets(random.choice(S_EDGES)) + bytes([random.randrange(4)])


@pytest.mark.parametrize("seed", range(12))
def test_both_say_the_same(seed: int) -> None:
    """Keys recovered, checks passed and signatures made are those of the C library; 4 ms each, so not more of them."""
    random = Random(seed)  # noqa: S311 - the same cases each time
    secret, message = random.randbytes(32), random.randbytes(random.randrange(100))
    theirs = PrivateKey(secret)
    key = bytes(theirs.public_key.format())
    assert secp256k1.public_key(secret) == key
    assert secp256k1.sign(secret, message) == theirs.sign_recoverable(message)
    for each in signatures(random, theirs.sign_recoverable(message)):
        assert outcome(secp256k1.recover, each, message) == outcome(recovered, each, message)
        for named in (key, bytes([5 - key[0]]) + key[1:], bytes([random.randrange(5)]) + random.randbytes(32)):
            assert outcome(secp256k1.fits, named, each, message) == outcome(checked, named, each, message)


@pytest.mark.parametrize("secret", [bytes(32), octets(N), b"\x01" * 31])
def test_what_is_no_secret_key_is_refused(secret: bytes) -> None:
    """Zero, what is beyond the last key, and another length sign nothing."""
    for work in (secp256k1.public_key, lambda key: secp256k1.sign(key, b"")):
        with pytest.raises(ValueError, match="it is no secret key"):
            work(secret)


def test_invoices_are_read_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of BOLT 11 have the same signers, and the same are refused, where coincurve is not installed."""
    rows = json.loads((ROOT / "tests" / "vectors" / "bolt11.json").read_text())
    texts = [row["bolt11"] for part in rows.values() if isinstance(part, list) for row in part]

    def signers() -> list[bytes | None]:
        return [outcome(lambda text: signer(read(text)), text) for text in texts]

    with_library = signers()
    monkeypatch.setitem(sys.modules, "coincurve", None)
    assert signers() == with_library
    assert {None} < set(with_library)


def test_a_process_without_the_library_signs_and_checks() -> None:
    """Sandbox and driver agree about an invoice where nobody has the C library; in a process that never had it."""
    program = """if True:
        import sys
        sys.modules["coincurve"] = None
        from datetime import UTC, datetime, timedelta
        from flash_driver.bolt11.payment_request import decode_reply
        from flash_driver.sandbox.bank.signer import InvoiceSigner, read_invoice
        signer = InvoiceSigner()
        made = signer.sign(msat=5000, description="coffee", now=datetime.now(UTC), expiry=timedelta(seconds=60))
        assert read_invoice(made.payment_request).msat == decode_reply(made.payment_request).amount_msat == 5000
    """
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
