"""An outage is told once, and its end once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from connection_strings import LightMoney, LightningError
from flash_driver.transports.contact import Contact
from tests.support.logs import recorded
from tests.support.proxy import FaultProxy
from tests.support.timing import SHORT
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.driver import Bench

_BEGIN = "the server does not answer"
_END = "the server answers again"


class Clock:
    """A steady clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        """Tell the time in seconds."""
        return self.now


def told(contact: Contact) -> tuple[str | None, datetime | None]:
    """Return what health tells of it."""
    return contact.trouble, contact.last_answer_at


def test_an_outage_and_its_end_are_told_once() -> None:
    """Failures of ten seconds are an outage, told with its reason; the first answer ends it, told with its length."""
    clock = Clock()
    contact = Contact(lambda: datetime(2026, 1, 1, tzinfo=UTC), clock)
    with recorded() as story:
        for clock.now in (0, 5, 9.9):
            contact.failed("http: refused")
        assert (told(contact), story.entries) == ((None, None), [])
        for clock.now in (12, 20, 240):
            contact.failed("http: refused")
        assert told(contact) == ("the server has not answered for 240 s: http: refused", None)
        for clock.now in (243, 244):
            contact.answered()
    begin, end = story.entry(_BEGIN), story.entry(_END)
    assert (begin["log_level"], begin["seconds"], begin["why"]) == ("warning", 12, "http: refused")
    assert (end["log_level"], end["seconds"]) == ("warning", 243)
    assert told(contact) == (None, datetime(2026, 1, 1, tzinfo=UTC))


def test_what_is_no_outage() -> None:
    """Failures with an answer between them, hours apart, or of the WebSocket alone are none."""
    clock = Clock()
    contact = Contact(steady=clock)
    with recorded() as story:
        for clock.now in range(0, 60, 6):
            contact.failed("http: refused")
            contact.answered()
            contact.not_heard("socket: refused")
        for clock.now in (1000, 9000):
            contact.failed("http: refused")
    assert story.entries == []
    with recorded() as story:
        for clock.now in (9006, 9012):
            contact.not_heard("socket: refused")
    assert story.entry(_BEGIN)["why"] == "socket: refused"


async def test_health_tells_an_outage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server away while somebody listens: one WARNING, and health says so; back: another one, and health is well."""
    monkeypatch.setattr("flash_driver.transports.contact._OUTAGE_SECONDS", 0.5)
    sandbox = await bench.sandbox()
    async with FaultProxy(sandbox.server) as network:
        text = f"type=flash;server={network.url};token={sandbox.token};allowinsecure=true"
        client = await bench.client(text, timing=SHORT)
        never = client.health
        with recorded() as story:
            async with await client.listen():
                await client.create_invoice(LightMoney.from_sat(1000))
                well = client.health
                assert (never.last_answer_at, never.outage, well.outage) == (None, None, None)
                network.accept = "refuse"
                network.reset()
                await until(lambda: client.health.outage is not None)
                with pytest.raises(LightningError):
                    await client.create_invoice(LightMoney.from_sat(1000))
                assert str(client.health.outage).startswith("the server has not answered for")
                network.heal()
                await until(lambda: client.health.outage is None)
        again = client.health.last_answer_at
    assert well.last_answer_at is not None
    assert again is not None
    assert again > well.last_answer_at
    assert story.entry(_BEGIN)["log_level"] == "warning"
    assert story.entry(_END)["log_level"] == "warning"
