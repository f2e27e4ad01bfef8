from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import LightMoney, LightningError, RateLimited
from lightning_host.allowance import Allowance
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import CHECKOUTS, KEY, open_checkout, stream
from tests.support.waiting import undisturbed

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench


@pytest.fixture
def short(node: FakeNode) -> FakeNode:
    """Give a node whose invoices live for three seconds, whatever is asked."""
    sign = node.signer.sign

    def sign_short(**terms: Any) -> Any:
        return sign(**{**terms, "expiry": timedelta(seconds=3)})

    node.signer.sign = sign_short  # type: ignore[method-assign]  # the node's own, for this test
    return node


async def look_up(host: RunningHost, checkout: dict[str, Any]) -> dict[str, Any]:
    """Ask as the shop."""
    _, told = await host.get(f"{CHECKOUTS}/{checkout['id']}", headers=KEY)
    assert isinstance(told, dict)
    return told


async def settle(host: RunningHost, checkout: dict[str, Any], received: int) -> dict[str, Any]:
    """Wait until the checkout has received so much."""

    async def arrived() -> bool:
        return bool((await look_up(host, checkout))["amountReceived"] == str(received))

    await eventually(arrived)
    return await look_up(host, checkout)


async def test_page_gets_a_fresh_invoice_before_the_old_one_dies(hosts: HostBench, short: FakeNode) -> None:
    """An open page is told the next BOLT11 while the old one can still be paid, and never stands without one."""
    host = await hosts.host(short, checkout_allowance=None)

    made_before = 0

    async def look() -> list[str | None]:
        nonlocal made_before
        made_before = len(short.invoices)
        checkout = await open_checkout(host)
        async with stream(host, checkout["id"]) as page:
            return [(await page.state())["bolt11"] for _ in range(3)]

    shown = await undisturbed(look)
    assert None not in shown
    assert len(set(shown)) == 3
    for old, new in pairwise([*short.invoices.values()][made_before:]):
        assert new.expires_at - timedelta(seconds=3) < old.expires_at


async def test_one_renewal_for_all_viewers_and_replicas(hosts: HostBench, short: FakeNode) -> None:
    """Many pages at many replicas look at a checkout: each renewal makes one invoice, and all show it."""
    replicas = [await hosts.host(short, checkout_allowance=None) for _ in range(3)]
    checkout = await open_checkout(replicas[0])

    async def hear(host: RunningHost) -> list[str]:
        async with stream(host, checkout["id"]) as page:
            shown: list[str] = []
            while len(shown) < 3:
                bolt11 = (await page.state())["bolt11"]
                shown += [bolt11] if bolt11 not in (None, *shown) else []
            return shown

    heard = await asyncio.gather(*(hear(host) for host in replicas for _ in range(5)))
    assert all(each == heard[0] for each in heard)
    told = await look_up(replicas[0], checkout)
    assert told["invoices"] == len(short.invoices) <= 4


async def test_nobody_looks_nothing_is_made(hosts: HostBench, short: FakeNode) -> None:
    """A checkout that no page looks at makes no further invoice; one that is opened again gets a fresh one."""
    host = await hosts.host(short)
    checkout = await open_checkout(host)

    async def dead() -> bool:
        return not (await look_up(host, checkout))["BOLT11"] or _expired(short, checkout["paymentHash"])

    await eventually(dead)
    assert (await look_up(host, checkout))["invoices"] == 1
    status, html = await host.get(f"/checkout/{checkout['id']}")
    assert status == 200
    told = await look_up(host, checkout)
    assert told["invoices"] == 2
    assert told["BOLT11"] in html


def _expired(node: FakeNode, payment_hash: str) -> bool:
    invoice = node.invoices[payment_hash]
    return invoice.expires_at.timestamp() < time.time()


async def test_late_payment_to_an_older_invoice_settles(hosts: HostBench, short: FakeNode) -> None:
    """Whichever of its BOLT11s is paid settles the checkout, once; a second payment is kept apart and told."""
    host = await hosts.host(short, checkout_allowance=None)
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        first, second = (await page.state())["bolt11"], (await page.state())["bolt11"]
        assert first != second
        await short.pay(checkout["paymentHash"])
        await page.until(status="Settled")
        told = await settle(host, checkout, 21_000_000)
        assert (told["overpaid"], told["paymentHash"]) == ("0", checkout["paymentHash"])
        newer = next(each.id for each in short.invoices.values() if each.bolt11 == second)
        await short.pay(newer)
        assert (await page.until(overpaid="21,000"))["status"] == "Settled"
    told = await settle(host, checkout, 42_000_000)
    assert (told["overpaid"], told["paymentHash"]) == ("21000000", checkout["paymentHash"])


async def test_second_payment_is_told_to_the_operator(
    hosts: HostBench, short: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    """Money that came once more stands in the log, with checkout and payment hash."""
    host = await hosts.host(short, checkout_allowance=None)
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        await page.state()
        await page.state()
    newer = (await look_up(host, checkout))["paymentHash"]
    await short.pay(checkout["paymentHash"])
    await short.pay(newer)
    await settle(host, checkout, 42_000_000)
    words = [record.getMessage() for record in caplog.records if "paid once more" in record.getMessage()]
    assert len(words) == 1
    assert checkout["id"] in words[0]
    assert newer in words[0]


async def test_repeated_news_counts_once(hosts: HostBench, node: FakeNode) -> None:
    """The same payment heard again and again by every replica is counted once."""
    one, two = await hosts.host(node), await hosts.host(node)
    checkout = await open_checkout(one)
    await node.pay(checkout["paymentHash"])
    node.settled += [checkout["paymentHash"]] * 3
    await node.ring()
    await settle(two, checkout, 21_000_000)
    last = await open_checkout(one, "1000")
    await node.pay(last["paymentHash"])
    await settle(two, last, 1000)
    assert (await look_up(two, checkout))["amountReceived"] == "21000000"


async def test_payment_while_no_replica_runs(hosts: HostBench, node: FakeNode) -> None:
    """A checkout that is paid while the host is down is settled once it is up again, also after its time."""
    host = await hosts.host(node)
    checkout = await open_checkout(host, expirySeconds=1)
    await host.stop()
    await asyncio.sleep(max(0, checkout["expiresAt"] + 1 - time.time()))
    await node.pay(checkout["paymentHash"])
    again = await hosts.host(node)
    told = await settle(again, checkout, 21_000_000)
    assert (told["status"], told["paidLate"]) == ("Settled", True)


async def test_too_little_does_not_settle(hosts: HostBench, node: FakeNode) -> None:
    """A wallet that says less came than was asked for leaves the checkout open, and what came is remembered."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    await node.pay(checkout["paymentHash"], amount=LightMoney.from_sat(1))
    told = await settle(host, checkout, 1000)
    assert told["status"] == "New"


async def test_budget_of_renewals(hosts: HostBench, short: FakeNode) -> None:
    """Open pages can't use up the wallet's limit: beyond the budget they wait, and the shop's own invoices are made."""
    host = await hosts.host(short, checkout_allowance=Allowance(times=2, seconds=600))
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        first = (await page.state())["bolt11"]
        while (await page.state())["bolt11"] in {first, None}:
            continue
        waiting = await page.until(bolt11=None, status="New")
        while waiting["nextCodeSeconds"] < 500:
            waiting = await page.until(bolt11=None, status="New")
        assert waiting["nextCodeSeconds"] <= 600
    assert (await look_up(host, checkout))["invoices"] == 2
    assert (await open_checkout(host))["invoices"] == 1


async def test_renewals_borrow_what_the_shop_leaves_and_take_turns(hosts: HostBench, short: FakeNode) -> None:
    """With room for two more, the two pages that have waited longest get a code; each other is told when."""
    host = await hosts.host(short, checkout_allowance=Allowance(times=6, seconds=600))
    opened = [await open_checkout(host) for _ in range(4)]
    for each in opened:

        async def dead(checkout: dict[str, Any] = each) -> bool:
            return _expired(short, checkout["paymentHash"])

        await eventually(dead)
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(stream(host, each["id"])) for each in opened]

        async def shared_out() -> bool:
            return sum([int((await look_up(host, each))["invoices"]) for each in opened]) == 6

        await eventually(shared_out)
        waits = []
        for page in pages[2:]:
            state = await page.state()
            while state["nextCodeSeconds"] is None or state["nextCodeSeconds"] < 500:
                state = await page.state()
            waits.append(state["nextCodeSeconds"])
    assert [(await look_up(host, each))["invoices"] for each in opened] == [2, 2, 1, 1]
    assert max(waits) <= 600


async def test_first_code_is_asked_about_before_a_second_is_shown(hosts: HostBench, short: FakeNode) -> None:
    """A payment that nobody heard of is found before the next code is due: the page says paid, and shows no second."""
    host = await hosts.host(short, checkout_allowance=None)
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        assert (await page.state())["bolt11"] == checkout["BOLT11"]
        await short.pay(checkout["paymentHash"], heard=False)
        shown = set()
        while (state := await page.state())["status"] == "New":
            shown.add(state["bolt11"])
    assert shown <= {checkout["BOLT11"], None}
    assert state["status"] == "Settled"
    assert len(short.created) == 1


async def test_code_paid_in_its_last_seconds_is_asked_about(hosts: HostBench, short: FakeNode) -> None:
    """A code can be paid while its successor is shown already: it is asked about before the one after that."""
    host = await hosts.host(short, checkout_allowance=None)
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        while (await page.state())["bolt11"] in {checkout["BOLT11"], None}:
            continue
        await short.pay(checkout["paymentHash"], heard=False)
        await page.until(status="Settled")
    assert len(short.created) == 2


async def test_no_second_code_while_the_wallet_can_not_tell(hosts: HostBench, short: FakeNode) -> None:
    """A wallet that makes invoices and can't say whether one was paid gets no second code made."""
    host = await hosts.host(short, checkout_allowance=None)
    checkout = await open_checkout(host)
    short.forgetful = LightningError("can't tell")
    async with stream(host, checkout["id"]) as page:
        await page.until(bolt11=None)
        assert len(short.created) == 1
        short.forgetful = None
        while (await page.state())["bolt11"] is None:
            continue
    assert len(short.created) == 2


@pytest.mark.parametrize("trouble", [LightningError("no"), RateLimited("slow down", retry_after=timedelta(seconds=1))])
async def test_wallet_in_trouble_is_asked_again(hosts: HostBench, short: FakeNode, trouble: LightningError) -> None:
    """A renewal that fails is tried again, and the page gets its invoice."""
    host = await hosts.host(short, checkout_allowance=None)
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        first = (await page.state())["bolt11"]
        short.broken = trouble

        async def without() -> bool:
            return (await host.get(f"/checkout/{checkout['id']}/state"))[1]["bolt11"] is None

        await eventually(without)
        short.broken = None
        while (state := await page.state())["bolt11"] in (None, first):
            continue
    assert state["status"] == "New"


async def test_expired_checkout_gets_no_invoice(hosts: HostBench, short: FakeNode) -> None:
    """After its time a checkout shows no BOLT11 and makes none, however often it is opened."""
    host = await hosts.host(short, checkout_seconds=1)
    checkout = await open_checkout(host)

    async def expired() -> bool:
        return bool((await host.get(f"/checkout/{checkout['id']}/state"))[1]["status"] == "Expired")

    await eventually(expired)
    status, html = await host.get(f"/checkout/{checkout['id']}")
    assert status == 200
    assert checkout["BOLT11"] not in html
    assert (await look_up(host, checkout))["invoices"] == 1


async def test_store_that_is_gone(hosts: HostBench, short: FakeNode) -> None:
    """A checkout of a store that is configured no more still has its page, without a code."""
    host = await hosts.host(short)
    checkout = await open_checkout(host)
    await host.stop()
    other = await hosts.host(short, store_id="other")

    async def without() -> bool:
        return (await other.get(f"/checkout/{checkout['id']}/state"))[1]["bolt11"] is None

    await eventually(without)
    assert (await other.get(f"/checkout/{checkout['id']}"))[0] == 200


async def test_with_the_driver_of_flash(hosts: HostBench, bench: Bench) -> None:
    """In front of a sandbox with invoices of four seconds a page sees new ones, and a late payment settles."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=4)
    host = await hosts.host(sandbox)
    checkout = await open_checkout(host)
    assert (await host.get(f"/checkout/{checkout['id']}/state"))[1]["fiat"].endswith("\N{NO-BREAK SPACE}USD")
    async with stream(host, checkout["id"]) as page:
        old = (await page.state())["bolt11"]
        new = (await page.state())["bolt11"]
        assert new not in (old, None)
        sandbox.pay(old, force=True)
        await page.until(status="Settled")
