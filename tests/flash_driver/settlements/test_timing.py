from __future__ import annotations

from contextlib import ExitStack

from flash_driver.settlements.schedule import Gate
from flash_driver.settlements.timing import Spacing, TokenLooks, WatchTiming
from flash_driver.transports.session import SessionTiming


def test_backoff_grows_to_its_limit() -> None:
    """Each loss in a row doubles the pause before connecting again, up to half a minute."""
    reconnect = WatchTiming().reconnect
    assert [reconnect.pause(losses) for losses in (1, 2, 3, 7, 10_000)] == [0.5, 1, 2, 30, 30]


def test_trouble_closes_the_gate_longer_each_time() -> None:
    """When no transport works, questions are held back, and answers to the same moment count once."""
    gate = Gate(WatchTiming())
    pauses = []
    now = 100.0
    for _ in range(8):
        gate.trouble(now)
        gate.trouble(now)
        pauses.append(gate.opens_at - now)
        now = gate.opens_at
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]
    gate.lift()
    assert gate.opens_at == 0


def test_a_rate_limit_outlasts_a_good_answer_but_not_for_ever() -> None:
    """The server's own word on when to come back is kept, up to a minute."""
    gate = Gate(WatchTiming())
    gate.close_for(100.0, 20.0)
    gate.lift()
    assert gate.opens_at == 120.0
    gate.close_for(100.0, 86_400.0)
    assert gate.opens_at == 160.0


def test_pause_between_questions_shrinks_while_invoices_wait() -> None:
    """A backlog is asked through faster the longer it has waited, and never faster than permitted."""
    spacing = Spacing(usual=0.05, least=0.005)
    assert spacing.after(0) == 0.05
    assert spacing.after(1) == 0.025
    assert spacing.after(1000) == 0.005
    assert Spacing(usual=0.6, least=0.6).after(1000) == 0.6


def test_a_dead_session_is_told_within_fifteen_seconds() -> None:
    """A token is looked up every ten seconds, and two refusals some seconds apart are proof."""
    looks = TokenLooks()
    with looks.one():
        assert looks.pause(WatchTiming()) + 2 * SessionTiming().apart <= 15


def test_many_accounts_look_their_tokens_up_more_seldom() -> None:
    """The accounts of a process share five looks a second; however many there are, each takes one a minute."""
    looks, timing = TokenLooks(), WatchTiming()
    pauses = {}
    with ExitStack() as listening:
        for number in range(1, 501):
            listening.enter_context(looks.one())
            pauses[number] = looks.pause(timing)
    assert {number: pauses[number] for number in (1, 50, 100, 300, 500)} == {1: 10, 50: 10, 100: 20, 300: 60, 500: 60}
    assert looks.listening == 0
