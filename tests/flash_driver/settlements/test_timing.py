from __future__ import annotations

from flash_driver.settlements.schedule import Gate
from flash_driver.settlements.timing import Spacing, WatchTiming


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
