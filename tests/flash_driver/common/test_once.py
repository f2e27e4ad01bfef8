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


def test_what_is_remembered_is_bounded() -> None:
    """A flood of different things takes no more memory than so many, and is told all the same."""
    tell_once = LogOnce(get_logger(), at_most=3)
    with recorded() as story:
        for number in range(10):
            tell_once("odd", what=str(number))
    assert len(story.entries) == 10
    assert len(tell_once._told) <= 3
