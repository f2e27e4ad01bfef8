"""How the parts of a watcher say how listening stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from connection_strings import LightningError
from flash_driver.settlements.health import Listening
from flash_driver.settlements.listening_state import ListeningState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_since_tells_when_it_became_so() -> None:
    """Saying the same again with another reason does not change since when it is so."""
    moments = [NOON + timedelta(seconds=number) for number in range(9)]
    state = ListeningState(lambda: moments.pop(0), lambda: None)
    assert (state.listening, state.since) == (Listening.OFF, NOON)
    state.say(Listening.POLLING, "no socket")
    became = state.since
    state.say(Listening.POLLING, "still none")
    assert (state.since, state.reason) == (became, "still none")
    state.say(Listening.HEARING)
    assert state.since > became
    assert (state.hearing, state.reason) == (True, None)


def test_a_failure_is_told_and_ends_with_a_new_beginning() -> None:
    """Whoever waits is woken at a failure; a new start forgets it."""
    woken = list[str]()
    state = ListeningState(lambda: NOON, lambda: woken.append("woken"))
    error = LightningError("gone deaf")
    state.broken = True
    state.fail(error)
    assert (state.listening, state.failure, state.reason) == (Listening.FAILED, error, "gone deaf")
    assert woken == ["woken"]
    state.begin()
    assert (state.listening, state.failure, state.broken) == (Listening.CONNECTING, None, False)
