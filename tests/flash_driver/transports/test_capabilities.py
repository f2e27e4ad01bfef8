from __future__ import annotations

import pytest

from flash_driver.outcome import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
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


def test_declining_is_believed_at_once() -> None:
    """A server that says in words that it declines is believed, whatever it did before."""
    memory = Capabilities(Clock())
    memory.learn("websocket", Completed({}))
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


def test_clock_of_its_own() -> None:
    """Without a clock given it uses the machine's monotonic one."""
    memory = Capabilities()
    memory.learn("http", DECLINED)
    assert memory.unable("http") is not None
