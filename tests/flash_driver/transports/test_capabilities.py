from __future__ import annotations

import pytest

from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.transports.capabilities import Capabilities

DECLINED = NotExecuted("only subscriptions", Cause.DECLINED)
CLOSED = NotExecuted("closed 4500", Cause.CLOSED)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        (DECLINED, 3600),
        (CLOSED, 600),
        (NotExecuted("HTTP 401", Cause.CREDENTIAL), 300),
        (NotExecuted("no handshake", Cause.SLOW), 30),
        (Unknown("no answer in time", silent=True), 30),
        (NotExecuted("refused", Cause.UNREACHABLE), 1),
    ],
)
def test_remembered_for_a_while(outcome: NotExecuted | Unknown, seconds: float) -> None:
    """Each kind of trouble keeps a transport out for its own time, and then it is worth trying again."""
    clock = Clock()
    memory = Capabilities(clock)
    memory.learn("http", outcome)
    inability = memory.unable("http")
    assert inability is not None
    assert inability.reason == outcome.reason
    assert memory.summary() == {"http": outcome.reason}
    clock.now += seconds - 0.001
    assert memory.unable("http") == inability
    clock.now += 0.001
    assert memory.unable("http") is None
    assert memory.summary() == {}


@pytest.mark.parametrize(
    "outcome",
    [
        NotExecuted("no such field", Cause.INVALID),
        Unknown("socket dropped"),
        Unknown("HTTP 502"),
        Unknown("in flight", answered=True),
    ],
)
def test_what_says_nothing_of_the_transport_is_not_held_against_it(outcome: Outcome) -> None:
    """A bad request or an accident does not keep the next request away."""
    memory = Capabilities(Clock())
    memory.learn("http", outcome)
    assert memory.unable("http") is None


@pytest.mark.parametrize("outcome", [Completed({}), Refused("no")])
def test_an_answer_clears_the_name(outcome: Outcome) -> None:
    """Any answer proves that operations are carried out here, and forgets older trouble."""
    memory = Capabilities(Clock())
    memory.learn("websocket", NotExecuted("HTTP 401", Cause.CREDENTIAL))
    assert memory.executes("websocket") is None
    memory.learn("websocket", outcome)
    assert memory.executes("websocket") is True
    assert memory.unable("websocket") is None
    assert memory.summary() == {"websocket": "works"}


def test_transports_are_told_apart() -> None:
    """What one transport can't do says nothing of another."""
    memory = Capabilities(Clock())
    memory.learn("websocket", DECLINED)
    memory.learn("http", Completed({}))
    assert memory.summary() == {"http": "works", "websocket": "only subscriptions"}
    assert (memory.executes("websocket"), memory.executes("http"), memory.executes("graphql")) == (False, True, None)


def test_declining_is_known_until_it_is_forgotten() -> None:
    """A server that declines is asked again after an hour, because servers are upgraded."""
    clock = Clock()
    memory = Capabilities(clock)
    memory.learn("websocket", DECLINED)
    assert memory.executes("websocket") is False
    clock.now += 3600
    assert memory.executes("websocket") is None


@pytest.mark.parametrize(
    ("cause", "final"),
    [
        (Cause.DECLINED, True),
        (Cause.CLOSED, True),
        (Cause.CREDENTIAL, False),
        (Cause.SLOW, False),
        (Cause.UNREACHABLE, False),
    ],
)
def test_only_declining_is_final(cause: Cause, *, final: bool) -> None:
    """Trouble that may have passed leaves a last chance, a server that takes subscriptions only does not."""
    memory = Capabilities(Clock())
    memory.learn("websocket", NotExecuted("why", cause))
    inability = memory.unable("websocket")
    assert inability is not None
    assert inability.final is final


def test_closing_is_believed_the_second_time_of_a_server_that_executed() -> None:
    """One close with 4500 is an accident on a server that executed before; the proof that follows decides."""
    memory = Capabilities(Clock())
    memory.learn("websocket", Completed({}))
    memory.learn("websocket", CLOSED)
    assert memory.unable("websocket") is None
    assert memory.executes("websocket") is None
    memory.learn("websocket", CLOSED)
    assert memory.executes("websocket") is False


def test_declining_is_believed_of_a_server_that_never_executed() -> None:
    """A server that says in words that it declines is believed at once; one that executed before, the second time."""
    memory = Capabilities(Clock())
    memory.learn("websocket", DECLINED)
    assert memory.executes("websocket") is False
    memory.learn("websocket", Completed({}))
    memory.learn("websocket", DECLINED)
    assert memory.executes("websocket") is None
    memory.learn("websocket", DECLINED)
    assert memory.executes("websocket") is False


def test_a_loss_calls_for_a_new_proof() -> None:
    """After a loss the server may be another one; an answer that it does not know says nothing of that."""
    memory = Capabilities(Clock())
    memory.learn("websocket", Completed({}))
    memory.learn("websocket", Unknown("in flight", answered=True))
    assert memory.executes("websocket") is True
    memory.learn("websocket", Unknown("socket dropped"))
    assert memory.executes("websocket") is None


@pytest.mark.parametrize("outcome", [DECLINED, CLOSED])
def test_declining_is_doubted_after_a_while(outcome: NotExecuted) -> None:
    """What declined may be asked again after half a minute, after each confirmation twice as late, and stays known."""
    clock = Clock()
    memory = Capabilities(clock)
    assert not memory.doubtful("websocket")
    for pause in (30, 60, 120):
        memory.learn("websocket", outcome)
        clock.now += pause - 0.001
        assert not memory.doubtful("websocket")
        clock.now += 0.001
        assert memory.doubtful("websocket")
        assert memory.executes("websocket") is False


def test_many_refusals_at_once_are_no_confirmation() -> None:
    """Ten requests in flight that are all declined tell no more than one."""
    clock = Clock()
    memory = Capabilities(clock)
    for _ in range(10):
        memory.learn("websocket", DECLINED)
    clock.now += 30
    assert memory.doubtful("websocket")


def test_an_answer_ends_the_doubt() -> None:
    """A server that executes after all is believed, and the next refusal is doubted early again."""
    clock = Clock()
    memory = Capabilities(clock)
    memory.learn("websocket", DECLINED)
    clock.now += 30
    memory.learn("websocket", Completed({}))
    assert (memory.executes("websocket"), memory.doubtful("websocket")) == (True, False)
    for _ in range(2):
        memory.learn("websocket", DECLINED)
    clock.now += 30
    assert memory.doubtful("websocket")


def test_trouble_on_the_way_to_the_question_is_no_answer() -> None:
    """A server that declined and can't be reached now still counts as declining, and is doubted after the trouble."""
    clock = Clock()
    memory = Capabilities(clock)
    memory.learn("websocket", DECLINED)
    clock.now += 30
    memory.learn("websocket", NotExecuted("no handshake", Cause.SLOW))
    assert (memory.executes("websocket"), memory.doubtful("websocket")) == (False, False)
    clock.now += 30
    assert memory.doubtful("websocket")
    assert memory.summary() == {"websocket": "only subscriptions"}


@pytest.mark.parametrize("cause", [Cause.CREDENTIAL, Cause.SLOW, Cause.UNREACHABLE])
def test_passing_trouble_needs_no_doubt(cause: Cause) -> None:
    """What is tried last anyway is never doubtful."""
    clock = Clock()
    memory = Capabilities(clock)
    memory.learn("http", NotExecuted("why", cause))
    assert not memory.doubtful("http")
    clock.now += 0.9
    assert not memory.doubtful("http")


def test_clock_of_its_own() -> None:
    """Without a clock given it uses the machine's monotonic one."""
    memory = Capabilities()
    memory.learn("http", DECLINED)
    assert memory.unable("http") is not None
