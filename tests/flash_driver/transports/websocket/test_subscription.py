from __future__ import annotations

import asyncio

import pytest

from flash_driver.transports.websocket.protocol import Next
from flash_driver.transports.websocket.subscription import Subscription, SubscriptionEnded


class Ended:
    """Notes the subscriptions that were given up."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, subscription: Subscription) -> None:
        """Note one."""
        self.ids.append(subscription.operation_id)


def event(number: int) -> Next:
    """Return an event with a number."""
    return Next("7", {"number": number}, ())


async def test_events_in_order_then_the_reason() -> None:
    """A reader gets every event that came before the end, then the reason, as often as it asks."""
    subscription = Subscription("7", 10, Ended())
    for number in range(3):
        subscription.deliver(event(number))
    subscription.end("the socket dropped")
    subscription.end("another reason")
    subscription.deliver(event(9))
    assert [(await subscription.receive()).data for _ in range(3)] == [{"number": number} for number in range(3)]
    for _ in range(2):
        with pytest.raises(SubscriptionEnded, match=r"^the socket dropped$"):
            await subscription.receive()


async def test_reader_that_falls_behind_loses_the_subscription() -> None:
    """Memory is bounded: what can't be queued ends the subscription, behind what was queued."""
    subscription = Subscription("7", 2, Ended())
    assert [subscription.deliver(event(number)) for number in range(4)] == [True, True, False, False]
    assert [(await subscription.receive()).data for _ in range(2)] == [{"number": 0}, {"number": 1}]
    with pytest.raises(SubscriptionEnded, match="fell too far behind"):
        await subscription.receive()


async def test_closing_wakes_the_reader_and_tells_the_connection() -> None:
    """A reader that waits when the subscription is closed does not wait for ever."""
    ended = Ended()
    subscription = Subscription("7", 2, ended)
    reading = asyncio.create_task(subscription.receive())
    await asyncio.sleep(0)
    await subscription.aclose()
    with pytest.raises(SubscriptionEnded, match="was closed"):
        await reading
    assert ended.ids == ["7"]


async def test_cancelled_reader_loses_no_event() -> None:
    """What comes after a reader was cancelled is there for the next one."""
    subscription = Subscription("7", 2, Ended())
    reading = asyncio.create_task(subscription.receive())
    await asyncio.sleep(0)
    reading.cancel()
    subscription.deliver(event(1))
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await subscription.receive()).data == {"number": 1}
