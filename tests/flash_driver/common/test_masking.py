from __future__ import annotations

import gc

import pytest

from connection_strings import Secret
from flash_driver.common import masking
from flash_driver.common.masking import LONGEST_SHOWN, hide, mask_tokens, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Not authorized", "Not authorized"),
        ("bad token ory_st_short", "bad token ory_st_***"),
        ("token=ory_st_short;x", "token=***;x"),
        ("key fk_1 is unknown", "key fk_*** is unknown"),
        ("Bearer swordfish is over", "Bearer *** is over"),
        ("a JWT eyJhbGciOi.eyJzdWIi.x", "a JWT eyJ***"),
        ("id 0123456789abcdef01234567 unknown", "id *** unknown"),
        ("a sentence-with-many-hyphens-in-it", "a sentence-with-many-hyphens-in-it"),
        ("two\n lines\tand  blanks", "two lines and blanks"),
        ({"a": 1}, "dict of 1"),
        ([[]], "list of 1"),
        (None, "None"),
        (True, "True"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: object, expected: str) -> None:
    """Words stay readable, credentials do not; what is no text is named."""
    assert shown(text) == expected


def test_the_very_token_in_use_is_masked_whatever_it_looks_like() -> None:
    """A token without digits, or a short one, is known by its value for as long as something holds it."""
    secret = hide(Secret("opensesame"))
    assert shown("no opensesame here") == "no *** here"
    del secret
    gc.collect()
    assert shown("no opensesame here") == "no opensesame here"


def test_a_token_at_the_cut_is_masked_too() -> None:
    """A token that begins within what is shown is masked, wherever the text is cut."""
    secret = hide(Secret("s" * 300))
    text = "x " * (LONGEST_SHOWN // 2 - 5) + secret.reveal()
    assert "ss" not in shown(text)


@pytest.mark.parametrize("length", [10, 4_000_000])
@pytest.mark.parametrize("piece", ["a", "1a", "-eyJ", "ory_st_", "bearer ", " ", "\0", "=", "🂡"])
def test_work_does_not_grow_with_the_text(piece: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long and odd a text is, the masker looks at a limited number of characters of it."""
    looked_at: list[int] = []
    mask = masking.mask_tokens  # its argument is what the work depends on

    def counting(line: str) -> str:
        looked_at.append(len(line))
        return mask(line)

    monkeypatch.setattr(masking, "mask_tokens", counting)
    assert len(shown(piece * (length // len(piece)))) <= LONGEST_SHOWN
    assert max(looked_at) <= 4096


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("No such command 'type=flash;token=ory_st_abc'.", "No such command 'type=flash;token=***'."),
        ("bearer tokens are refused", "bearer tokens are refused"),
        ("got api-token = s3cret;server=x", "got api-token = ***;server=x"),
        ("unexpected extra argument (ory_st_abc)", "unexpected extra argument (ory_st_***)"),
        ("fk_01234567_abc.", "fk_***"),
        ("the key 'token' is missing", "the key 'token' is missing"),
    ],
)
def test_tokens_are_masked_wherever_they_are_quoted(text: str, masked: str) -> None:
    """A token is known by its key or its look; the rest of a message stays readable."""
    assert mask_tokens(text) == masked
