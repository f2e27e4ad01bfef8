"""A short run of every fuzz target, the same each time; `make fuzz` is the long one."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.targets import TARGETS, seeds_of

RUNS = 400
PIECES = (b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud83c", b"1e99999999999999999999", b"9" * 50, b"[" * 50, b"{}", b";",
          b"=", b"null", b"-", b"%00", b"\n", b"1", b"lnbc", b'"', b"ory_st_x")  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return some bytes with a few changes."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        to = min(len(data), at + chance.choice((0, 1, 1, 4)))
        data = data[:at] + chance.choice((chance.choice(PIECES), chance.randbytes(1), data[:at][-8:])) + data[to:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_short_run(name: str) -> None:
    """Each seed of the corpus, and hundreds of changes of them, keep every promise of the target."""
    chance = random.Random(name)  # noqa: S311 - the same cases each time, nothing secret
    seeds = seeds_of(name)
    for seed in seeds:
        TARGETS[name](seed)
    for _ in range(RUNS):
        data = mutated(chance.choice(seeds), chance)
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name}({data!r})") from error
