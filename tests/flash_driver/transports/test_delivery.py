from __future__ import annotations

from datetime import timedelta

import pytest

from connection_strings import BackendUnavailable, CredentialRejected, NotSupported, RateLimited, RequestRefused
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.transports.delivery import Delivery, TemporarilyRefused

REASONS = {"websocket": "the connection was refused", "http": "HTTP 502"}


def delivered(outcome: Outcome, *causes: Cause) -> Delivery:
    """Return what a router might."""
    return Delivery(outcome, "http", REASONS, frozenset(causes))


def test_data_of_a_completed_request() -> None:
    """What the server answered is what the host's call goes on with."""
    assert delivered(Completed({"a": 1})).data("asking") == {"a": 1}


def test_refusal_keeps_words_and_code() -> None:
    """The server's no reaches the host as it was said."""
    with pytest.raises(RequestRefused, match=r"^too little \(LOW\)$") as caught:
        delivered(Refused("too little", "LOW")).data("asking")
    assert (caught.value.words, caught.value.code) == ("too little", "LOW")


def test_rate_limit_says_when_to_come_back() -> None:
    """A no for now is a RateLimited with its waiting time."""
    with pytest.raises(RateLimited) as caught:
        delivered(Refused("slow down", "TOO_MANY_REQUEST", timedelta(seconds=9))).data("asking")
    assert caught.value.retry_after == timedelta(seconds=9)


def test_trouble_of_the_server_s_own_is_no_final_word() -> None:
    """What may succeed in a moment is BackendUnavailable, with the server's words; a question has changed nothing."""
    refusal = Refused("An error occurred.", "IBEX_ERROR", temporary=True)
    with pytest.raises(TemporarilyRefused, match=r"websocket: An error occurred\. \(IBEX_ERROR\)") as caught:
        Delivery(refusal, "websocket").data("creating")
    assert (caught.value.words, caught.value.code, caught.value.executed) == (refusal.words, refusal.code, None)
    assert isinstance(caught.value, BackendUnavailable)
    with pytest.raises(TemporarilyRefused) as caught:
        Delivery(refusal, "websocket", harmless=True).data("asking")
    assert caught.value.executed is False


def test_gateway_that_takes_no_more() -> None:
    """A gateway's limit is a RateLimited of seconds."""
    with pytest.raises(RateLimited) as caught:
        Delivery(
            NotExecuted("no transport worked"),
            "",
            REASONS,
            frozenset({Cause.DECLINED, Cause.THROTTLED}),
            retry_after=timedelta(seconds=2),
        ).data("asking")
    assert caught.value.retry_after == timedelta(seconds=2)


def test_token_refused_on_every_way() -> None:
    """When the token is dead, the merchant is told to renew it, and each way is named."""
    with pytest.raises(CredentialRejected, match=r"log in to Flash again \(flash-driver login\)") as caught:
        Delivery(NotExecuted("HTTP 401"), "http", REASONS, rejected=True).data("asking")
    assert "WebSocket: the connection was refused; HTTP: HTTP 502" in str(caught.value)


def test_what_the_last_way_can_not_carry() -> None:
    """Where the token is good and only the way is unsuited, the merchant is told to make an API key."""
    with pytest.raises(NotSupported, match="make an API key"):
        delivered(NotExecuted("no transport worked"), Cause.UNSUITED, Cause.DECLINED, Cause.CREDENTIAL).data("paying")
    with pytest.raises(BackendUnavailable):
        delivered(NotExecuted("no transport worked"), Cause.UNSUITED, Cause.UNREACHABLE).data("paying")


@pytest.mark.parametrize(
    "causes", [(), (Cause.CREDENTIAL,), (Cause.UNREACHABLE,), (Cause.CREDENTIAL, Cause.UNREACHABLE)]
)
def test_no_way_worked(causes: tuple[Cause, ...]) -> None:
    """Any other trouble is BackendUnavailable, which names each transport and knows that nothing was executed."""
    with pytest.raises(BackendUnavailable, match=r"^asking failed on every way") as caught:
        delivered(NotExecuted("no transport worked"), *causes).data("asking")
    assert caught.value.reasons == REASONS
    assert caught.value.executed is False


def test_unknown_is_not_called_unexecuted() -> None:
    """What may have been carried out is said to be so."""
    with pytest.raises(BackendUnavailable, match="may have been carried out") as caught:
        delivered(Unknown("no answer in time"), Cause.CREDENTIAL).data("asking")
    assert caught.value.executed is None


def test_reason_of_the_outcome_where_no_other_is_known() -> None:
    """An error never comes without a reason."""
    with pytest.raises(BackendUnavailable) as caught:
        Delivery(Unknown("socket dropped"), "websocket").data("asking")
    assert caught.value.reasons == {"websocket": "socket dropped"}


def test_a_lost_question_has_changed_nothing() -> None:
    """When no answer to a question came, nothing can have been carried out: no host has to fear for money."""
    with pytest.raises(BackendUnavailable) as caught:
        Delivery(Unknown("socket dropped"), "websocket", harmless=True).data("asking")
    assert caught.value.executed is False
    assert "may have been carried out" not in str(caught.value)
