from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from connection_strings import CreateInvoiceParams, LightMoney
from flash_driver.settlements.health import Listening
from tests.support.haste import hasten
from tests.support.proxy import FaultProxy
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.driver import Bench


async def test_a_life_in_states(bench: Bench) -> None:
    """Off, connecting, hearing, polling, hearing, off: each state with its reason and its figures."""
    sandbox = await bench.sandbox()
    async with FaultProxy(sandbox.server) as network:
        text = f"type=flash;server={network.url};token={sandbox.token};allowinsecure=true"
        client = hasten(await bench.client(text))
        off = client.health
        assert (off.listening, off.reason, off.connected, off.pending) == (Listening.OFF, None, False, 0)
        assert (off.last_event_at, off.transports, off.lag) == (None, {}, timedelta(0))
        listener = await client.listen()
        assert client.health.listening in {Listening.CONNECTING, Listening.HEARING}
        await until(lambda: client.health.listening is Listening.HEARING)
        await client.create_invoice(CreateInvoiceParams(LightMoney.from_sat(1000)))
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
    client = hasten(await bench.client(sandbox, transports="http"))
    listener = await client.listen()
    await client.create_invoices([CreateInvoiceParams(LightMoney.from_sat(1000))] * 12)
    sandbox.arm("silent", operation="lnInvoicePaymentStatus", count=1000)
    await until(lambda: client.health.lag > timedelta(milliseconds=300))
    await listener.aclose()
    assert client.health.lag == timedelta(0)
