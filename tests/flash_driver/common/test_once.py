"""What may come again and again is told once."""

from __future__ import annotations

from flash_driver.common.log import get_logger
from flash_driver.common.once import LogOnce
from tests.support.logs import recorded


def test_each_thing_is_told_once() -> None:
    """The same event with other words is another thing; the same words again are not told."""
    tell_once = LogOnce(get_logger(part="test"))
    with recorded() as story:
        for _ in range(3):
            tell_once("odd", what="a")
            tell_once("odd", what="b")
            tell_once("strange", what="a")
    assert story.entries == [
        {"event": "odd", "what": "a", "part": "test", "log_level": "warning"},
        {"event": "odd", "what": "b", "part": "test", "log_level": "warning"},
        {"event": "strange", "what": "a", "part": "test", "log_level": "warning"},
    ]


def test_a_flood_is_cut_short() -> None:
    """Of a flood of different things the first are told, then that there are more; the next hour begins again."""
    now = [0.0]
    tell_once = LogOnce(get_logger(), most_of_a_kind=3, clock=lambda: now[0])
    with recorded() as story:
        for number in range(10):
            tell_once("odd", what=str(number))
        tell_once("strange", what="a")
        now[0] = 3600.0
        tell_once("odd", what="9")
    told = [(entry["event"], entry.get("what")) for entry in story.entries]
    assert told == [
        *(("odd", str(number)) for number in range(3)),
        ("more of the same kind is not logged for an hour", None),
        ("strange", "a"),
        ("odd", "9"),
    ]
