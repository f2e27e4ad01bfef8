from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from connection_strings import CreateInvoiceParams, LightMoney, LightningError
from flash_driver.settlements.health import Listening, ListeningState
from tests.support.proxy import FaultProxy
from tests.support.timing import SHORT
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.driver import Bench

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_a_life_in_states(bench: Bench) -> None:
    """Off, connecting, hearing, polling, hearing, off: each state with its reason and its figures."""
    sandbox = await bench.sandbox(ws_mutations="accept")
    async with FaultProxy(sandbox.server) as network:
        text = f"type=flash;server={network.url};token={sandbox.token};allowinsecure=true"
        client = await bench.client(text, timing=SHORT)
        off = client.health
        assert (off.listening, off.reason, off.connected, off.pending) == (Listening.OFF, None, False, 0)
        assert (off.last_event_at, off.transports, off.lag) == (None, {}, timedelta(0))
        listener = await client.listen()
        assert client.health.listening in {Listening.CONNECTING, Listening.HEARING}
        await until(lambda: client.health.listening is Listening.HEARING)
        await client.create_invoice(CreateInvoiceParams(LightMoney.from_sat(1000)))
        await until(lambda: client.health.pending == 1)
        up = client.health
        assert (up.connected, up.reconnects, up.losses, up.pending, up.reason) == (True, 0, 0, 1, None)
        assert up.transports == {"websocket": "works"}
        assert up.last_event_at is not None
        assert off.since <= up.since <= datetime.now(UTC)
        network.accept = "refuse"
        network.reset()
        await until(lambda: client.health.listening is Listening.POLLING)
        down = client.health
        assert (down.connected, down.pending) == (False, 1)
        assert down.reason is not None
        assert down.since >= up.since
        network.heal()
        await until(lambda: client.health.listening is Listening.HEARING)
        assert client.health.reconnects >= 1
        await listener.aclose()
        assert (client.health.listening, client.health.pending) == (Listening.OFF, 0)


async def test_lag_shows_that_asking_does_not_keep_up(bench: Bench) -> None:
    """When invoices wait to be asked about, health says for how long."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="http", timing=SHORT)
    listener = await client.listen()
    await client.create_invoices([CreateInvoiceParams(LightMoney.from_sat(1000))] * 12)
    sandbox.arm("silent", operation="lnInvoicePaymentStatus", count=1000)
    await until(lambda: client.health.lag > timedelta(milliseconds=300))
    await listener.aclose()
    assert client.health.lag == timedelta(0)


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
    assert (state.subscribed, state.reason) == (True, None)


def test_a_failure_is_told_and_ends_with_a_new_beginning() -> None:
    """Listeners are woken at a failure; a new start forgets it."""
    woken = list[str]()
    state = ListeningState(lambda: NOON, lambda: woken.append("woken"))
    error = LightningError("no more news")
    state.broken = True
    state.fail(error)
    assert (state.listening, state.failure, state.reason) == (Listening.FAILED, error, "no more news")
    assert woken == ["woken"]
    state.begin()
    assert (state.listening, state.failure, state.broken) == (Listening.CONNECTING, None, False)
