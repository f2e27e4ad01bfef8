"""How the parts of a watcher say how listening stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from connection_strings import LightningError
from flash_driver.settlements.health import Listening
from flash_driver.settlements.standing import Standing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_since_tells_when_it_became_so() -> None:
    """Saying the same again with another reason does not change since when it is so."""
    moments = [NOON + timedelta(seconds=number) for number in range(9)]
    standing = Standing(lambda: moments.pop(0), lambda: None)
    assert (standing.listening, standing.since) == (Listening.OFF, NOON)
    standing.say(Listening.POLLING, "no socket")
    became = standing.since
    standing.say(Listening.POLLING, "still none")
    assert (standing.since, standing.reason) == (became, "still none")
    standing.say(Listening.HEARING)
    assert standing.since > became
    assert (standing.hearing, standing.reason) == (True, None)


def test_a_failure_is_told_and_ends_with_a_new_beginning() -> None:
    """Whoever waits is woken at a failure; a new start forgets it."""
    woken = list[str]()
    standing = Standing(lambda: NOON, lambda: woken.append("woken"))
    error = LightningError("gone deaf")
    standing.broken = True
    standing.fail(error)
    assert (standing.listening, standing.failure, standing.reason) == (Listening.FAILED, error, "gone deaf")
    assert woken == ["woken"]
    standing.begin()
    assert (standing.listening, standing.failure, standing.broken) == (Listening.CONNECTING, None, False)
