"""Memos are cut to what the custodian takes, and never through what a reader sees as one character."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_driver.invoices.memo import LONGEST_MEMO, cut_memo, readable_text

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
WAVE = "\U0001f44b\U0001f3fd"
JAMAICA = "\U0001f1ef\U0001f1f2"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
KEYCAP = "1\ufe0f\u20e3"
ACCENTED = "e\u0301\u0323"
KOREAN = "\u1112\u1161\u11ab"
THAI = "\u0e19\u0e33"
CLUSTERS = {
    "emoji": "\U0001f680",
    "family of joined emoji": FAMILY,
    "skin tone": WAVE,
    "flag": JAMAICA,
    "flag of tags": SCOTLAND,
    "keycap": KEYCAP,
    "two accents": ACCENTED,
    "Korean syllable in parts": KOREAN,
    "Thai vowel": THAI,
    "line break": "\r\n",
}


def test_short_memo_stays() -> None:
    """A memo of fifty characters is left as it is, blanks at its end included."""
    memo = "x" * (LONGEST_MEMO - 2) + "  "
    assert cut_memo(memo) == memo
    assert cut_memo("") == ""


def test_long_memo_is_cut() -> None:
    """A longer memo keeps its beginning up to a word's end, and an ellipsis says that there was more."""
    assert cut_memo("x" * 51) == "x" * 49 + "\u2026"
    assert cut_memo("x" * 49 + " and more") == "x" * 49 + "\u2026"
    assert cut_memo("two large coffees with oat milk and a cake to take away") == (
        "two large coffees with oat milk and a cake to\u2026"
    )
    assert cut_memo("tip " + "x" * 60) == "tip " + "x" * 45 + "\u2026"


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
def test_no_character_is_torn(cluster: str) -> None:
    """Wherever the limit falls within what a reader sees as one character, the whole of it is left out."""
    room = LONGEST_MEMO - 1
    for before in range(room - len(cluster) + 1, room):
        assert cut_memo("x" * before + cluster + "and so on") == "x" * before + "\u2026"
    fits = "x" * (room - len(cluster))
    assert cut_memo(fits + cluster + "and so on") == (fits + cluster).rstrip() + "\u2026"


def test_flags_are_told_apart() -> None:
    """In a row of flags the cut falls between two of them, not between two letters of different ones."""
    assert cut_memo(JAMAICA * 30) == JAMAICA * 24 + "\u2026"
    assert cut_memo("x" + JAMAICA * 30) == "x" + JAMAICA * 24 + "\u2026"


def test_endless_cluster_is_left_out() -> None:
    """A base with more marks than the limit leaves nothing but the ellipsis."""
    assert cut_memo("e" + "\u0301" * 60) == "\u2026"


@settings(deadline=None)
@given(st.text(max_size=80))
def test_cut_is_a_beginning(memo: str) -> None:
    """Whatever the text, the result is it or a beginning of it, fifty characters and 639 bytes at most."""
    cut = cut_memo(memo)
    assert cut == memo or memo.startswith(cut.removesuffix("\u2026"))
    assert len(cut) <= LONGEST_MEMO
    assert len(cut.encode("utf-8", "surrogatepass")) <= 639


@pytest.mark.parametrize(
    ("description", "readable"),
    [
        ("coffee", "coffee"),
        ("", ""),
        (json.dumps([["text/identifier", "a@b.c"], ["text/plain", "Pay to a@b.c"]]), "Pay to a@b.c"),
        (json.dumps([["image/png;base64", "AAAA"]]), '[["image/png;base64", "AAAA"]]'),
        ("[not JSON", "[not JSON"),
        ("[1, 2]", "[1, 2]"),
        ('[["text/plain", 5]]', '[["text/plain", 5]]'),
        ('[["text/plain"]]', '[["text/plain"]]'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_reads_lnurl_metadata(description: str, readable: str) -> None:
    """Of LNURL metadata the payer gets to read the plain text (LUD-06); anything else is read as it stands."""
    assert readable_text(description) == readable
