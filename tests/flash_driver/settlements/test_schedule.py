from __future__ import annotations

import random

import pytest

from flash_driver.settlements.schedule import Entry, Schedule, next_attempt, next_question
from flash_driver.settlements.timing import Pace


def agenda_of(*names: str, due: float = 0.0) -> Schedule:
    """Return an schedule of invoices that were made one second after the other and are due then."""
    schedule = Schedule()
    for age, name in enumerate(names):
        schedule.add(name, Entry(float(age), 1000.0), due)
    return schedule


def taken(schedule: Schedule, now: float) -> list[str]:
    """Take out everything that is due."""
    found = []
    while (each := schedule.take(now)) is not None:
        found.append(each[0])
    return found


def test_nothing_is_taken_before_its_time() -> None:
    """An invoice is asked about when it is due, not earlier, and then once."""
    schedule = agenda_of("a", due=5.0)
    assert schedule.next_due(0.0) == 5.0
    assert taken(schedule, 4.9) == []
    assert taken(schedule, 5.0) == ["a"]
    assert (taken(schedule, 9.0), schedule.next_due(9.0)) == ([], None)
    schedule.schedule("a", 12.0)
    assert taken(schedule, 12.0) == ["a"]


def test_under_load_newest_and_oldest_take_turns() -> None:
    """A fresh invoice is answered at once, and the one that waits longest is not forgotten."""
    assert taken(agenda_of("a", "b", "c", "d"), 1.0) == ["d", "a", "c", "b"]


def test_a_hint_comes_before_everything_else() -> None:
    """What something was heard of is asked about first, also before its time."""
    schedule = agenda_of("a", "b", "c")
    schedule.add("later", Entry(0.0, 1000.0), 500.0)
    schedule.hurry("later")
    schedule.hurry("later")
    assert schedule.take(1.0) == ("later", True)
    assert "later" not in taken(schedule, 1.0)


def test_a_hint_during_a_question_is_asked_about_again() -> None:
    """An event that comes while the query is under way is newer than its answer."""
    schedule = agenda_of("a")
    assert schedule.take(1.0) == ("a", False)
    schedule.hurry("a")
    assert schedule.take(1.0) is None
    schedule.schedule("a", 900.0)
    assert schedule.take(1.0) == ("a", True)


def test_everything_is_due_after_a_reconnection() -> None:
    """All are asked about once, those being asked about and those that are hurried included."""
    schedule = agenda_of("a", "b", "c", "d", due=100.0)
    schedule.hurry("b")
    schedule.hurry("c")
    assert schedule.take(0.0) == ("b", True)
    schedule.hurry_all(0.0, late=True)
    assert sorted(taken(schedule, 0.0)) == ["a", "c", "d"]
    schedule.schedule("b", 100.0)
    assert taken(schedule, 0.0) == ["b"]


def test_places_do_not_pile_up() -> None:
    """Whatever is scheduled, hurried and forgotten, an invoice takes a bounded number of places."""
    schedule, dice = Schedule(), random.Random(1)  # noqa: S311 - repeatable on purpose
    names = [f"{number:02}" for number in range(50)]
    for step in range(20_000):
        name = dice.choice(names)
        match dice.randrange(6):
            case 0:
                schedule.add(name, Entry(step, step + 60.0), step + dice.random() * 9)
            case 1:
                schedule.discard(name)
            case 2:
                schedule.hurry_all(float(step), late=bool(dice.randrange(2)))
            case 3 if name in schedule:
                schedule.hurry(name)
            case 4:
                schedule.schedule(name, step + dice.random() * 9)
            case _:
                found = schedule.take(float(step))
                if found is not None and dice.random() < 0.9:
                    schedule.schedule(found[0], step + dice.random() * 9)
        assert len(schedule._later) + len(schedule._ready) + len(schedule._urgent) <= 4 * len(names) + 64
    for name in names:
        schedule.discard(name)
    assert (len(schedule), schedule.take(1e9)) == (0, None)


def test_known_invoices_stay_as_they_are() -> None:
    """Adding an invoice again does not move it, and one that is unknown can't be scheduled."""
    schedule = agenda_of("a", due=5.0)
    schedule.add("a", Entry(99.0, 99.0), 0.0)
    schedule.schedule("nobody", 0.0)
    assert schedule["a"].begun == 0.0
    assert taken(schedule, 1.0) == []


def test_forgetting_everything() -> None:
    """A cleared schedule holds nothing."""
    schedule = agenda_of("a", "b")
    schedule.hurry("a")
    schedule.clear()
    assert (len(schedule), schedule.take(9.0), schedule.next_due(9.0)) == (0, None, None)


def test_next_due_skips_what_was_moved() -> None:
    """The time of the next question is that of an entry, not of one that was moved away."""
    schedule = agenda_of("a", due=5.0)
    schedule.schedule("a", 50.0)
    assert schedule.next_due(0.0) == 50.0
    schedule.hurry("a")
    assert schedule.next_due(0.0) == 0.0


def test_lag_is_that_of_the_longest_waiting() -> None:
    """Lag counts from when an invoice was due, and is nothing while all is asked in time."""
    schedule = agenda_of("a", due=5.0)
    assert schedule.lag(4.0) == 0.0
    assert schedule.lag(8.0) == 3.0


def test_only_open_invoices_are_hurried_at_a_loss() -> None:
    """What is called expired is asked about again when the subscription is up, not at each loss."""
    schedule = agenda_of("a", due=100.0)
    schedule.add("expired", Entry(0.0, 1.0, late=True), 100.0)
    schedule.hurry_all(0.0, late=False)
    assert taken(schedule, 0.0) == ["a"]
    schedule.hurry_all(0.0, late=True)
    assert taken(schedule, 0.0) == ["expired"]


@pytest.mark.parametrize(
    ("age", "left", "fruitless", "subscribed", "pause"),
    [
        pytest.param(0, 60, 0, False, 2, id="quickly after creation"),
        pytest.param(0, 60, 0, True, 3, id="a little later with a subscription: its event may be lost"),
        pytest.param(4, 56, 0, True, 4, id="then slower"),
        pytest.param(50, 10, 0, True, 6, id="but never slower than that while it is young"),
        pytest.param(50, 10, 0, False, 6, id="without a subscription, too"),
        pytest.param(200, 900, 0, True, 20, id="a tenth of the age of what lives longer"),
        pytest.param(9000, 9000, 0, False, 300, id="never slower than that"),
        pytest.param(58, 2, 0, True, 2, id="but at the expiry"),
        pytest.param(64, -4, 0, True, 6, id="and at the end of the grace time"),
        pytest.param(70, -10, 1, True, 2, id="then until there is a verdict"),
        pytest.param(70, -10, 99, True, 300, id="ever more slowly"),
    ],
)
def test_pace(age: float, left: float, fruitless: int, subscribed: bool, pause: float) -> None:  # noqa: FBT001 - a column
    """Questions come quickly at first, then more slowly, and never later than expiry and end of grace."""
    now = 10_000.0
    entry = Entry(now - age, now + left)
    entry.fruitless = fruitless
    assert next_question(Pace(), entry, now, 10.0, subscribed=subscribed) - now == pause


@pytest.mark.parametrize(("subscribed", "questions"), [(True, 13), (False, 14)])
def test_the_longest_wait_for_a_lost_event(subscribed: bool, questions: int) -> None:  # noqa: FBT001 - a column
    """Whenever in its 60 s an invoice is paid without an event, a question follows within 6 s; a dozen in all."""
    entry, now, asked = Entry(0.0, 60.0), 0.0, []
    while now < 70.0:
        now = next_question(Pace(), entry, now, 10.0, subscribed=subscribed)
        asked.append(now)
    assert max(later - before for before, later in zip([0.0, *asked], asked, strict=False)) <= 10.0
    assert max(later - before for before, later in zip([0.0, *asked[:-1]], asked[:-1], strict=False)) <= 6.0
    assert len(asked) == questions


def test_what_is_called_expired_is_asked_about_for_a_day() -> None:
    """A late payment is looked for at pauses that double: a dozen questions in the first day."""
    entry, now, asked = Entry(0.0, 60.0, late=True), 70.0, []
    while now < 86_400.0:
        now = next_question(Pace(), entry, now, 10.0, subscribed=True)
        asked.append(now)
    assert asked[:5] == [90.0, 120.0, 180.0, 300.0, 540.0]
    assert len(asked) <= 14


def test_attempts_back_off() -> None:
    """A question that brought nothing is repeated at growing pauses that stay short."""
    entry, pauses = Entry(0.0, 60.0), []
    for fruitless in (1, 2, 3, 9):
        entry.fruitless = fruitless
        pauses.append(next_attempt(Pace(), entry, 0.0))
    assert pauses == [1, 2, 4, 30]
