"""What every journal promises: in memory, in a SQLite file, in PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings.errors import InvalidRequest
from connection_strings.lightning import LightningInvoiceStatus, LightningPaymentStatus
from flash_driver.journal.attempt_rules import Begun, Counted
from flash_driver.journal.budget_rules import Bucket, BudgetWait, InvoiceBudget
from flash_driver.journal.errors import KnownElsewhere
from flash_driver.journal.owner import account_scope
from flash_driver.journal.wakeup import Topic
from tests.support.journals import NOON, a_payment, an_invoice, open_journal, settle, woken

if TYPE_CHECKING:
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord, PaymentRecord
    from flash_driver.journal.store import JournalStore

PAID, UNPAID, EXPIRED = (
    LightningInvoiceStatus.PAID,
    LightningInvoiceStatus.UNPAID,
    LightningInvoiceStatus.EXPIRED,
)
PENDING, UNKNOWN, COMPLETE, FAILED = (
    LightningPaymentStatus.PENDING,
    LightningPaymentStatus.UNKNOWN,
    LightningPaymentStatus.COMPLETE,
    LightningPaymentStatus.FAILED,
)
LIMIT = InvoiceBudget(2, 120)


def numbers(rows: list[InvoiceRecord] | list[PaymentRecord]) -> list[int]:
    """Tell which invoices or payments these are."""
    return [int(row.payment_hash, 16) for row in rows]


# --- invoices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        an_invoice(1),
        an_invoice(2, amount_msat=None, cents=None, description=""),
        an_invoice(3, amount_msat=21_000_000 * 10**11, cents=Decimal("0.000001")),
        an_invoice(4, cents=Decimal("1E+3"), currency="USDT"),
        an_invoice(5, description="☕ \U0001f600 'quoted' \"twice\" %s :name -- ;\n\t\\"),
        an_invoice(
            6, created_at=datetime(2026, 5, 17, 12, 0, 0, 123457, UTC), expires_at=datetime.max.replace(tzinfo=UTC)
        ),
    ],
    ids=lambda record: str(int(record.payment_hash, 16)),
)
async def test_invoice_comes_back_as_it_was(journal: Journal, record: InvoiceRecord) -> None:
    """Millisatoshi, decimals digit for digit, any text and microseconds survive."""
    await journal.add_invoice(record)
    assert await journal.find_invoice(record.payment_hash) == record
    assert await journal.list_invoices() == [record]
    found = await journal.find_invoice(record.payment_hash)
    assert found is not None
    assert (str(found.cents), found.created_at.utcoffset()) == (str(record.cents), timedelta(0))


async def test_times_of_other_zones_are_the_same_moments(journal: Journal) -> None:
    """A time given in another zone comes back as the same moment."""
    made = NOON.astimezone(timezone(timedelta(hours=-7)))
    await journal.add_invoice(an_invoice(1, created_at=made))
    found = await journal.find_invoice(an_invoice(1).payment_hash)
    assert found is not None
    assert found.created_at == NOON


async def test_unknown_invoice_is_none(journal: Journal) -> None:
    """A payment hash that was never kept is found, settled and expired by nobody."""
    unknown = an_invoice(9).payment_hash
    assert await journal.find_invoice(unknown) is None
    assert await settle(journal, 9) is None
    assert await journal.expire_invoice(unknown) is None
    assert await journal.last_settle_index() == 0


async def test_adding_twice_keeps_the_first(journal: Journal) -> None:
    """An invoice that is there already stays as it is, a settlement included."""
    assert await journal.add_invoice(an_invoice(1))
    paid = await settle(journal, 1)
    again = (an_invoice(number, description="tea") for number in (1, 2, 1, 2))
    added = await asyncio.gather(*map(journal.add_invoice, again))
    assert (added[0::2], sorted(added[1::2])) == ([False, False], [False, True])
    assert await journal.list_invoices() == [paid, an_invoice(2, description="tea")]
    await journal.add_orphan(an_invoice(3))
    assert [await journal.add_invoice(an_invoice(3)) for _ in range(2)] == [True, False]


async def test_invoices_are_listed_in_the_order_made(journal: Journal) -> None:
    """Listing goes by age, with an offset, and knows which are still unpaid."""
    for number in (3, 1, 2, 5, 4):
        await journal.add_invoice(an_invoice(number))
    await settle(journal, 1)
    await journal.expire_invoice(an_invoice(5).payment_hash)
    assert numbers(await journal.list_invoices()) == [3, 1, 2, 5, 4]
    assert numbers(await journal.list_invoices(offset=3)) == [5, 4]
    assert numbers(await journal.list_invoices(pending_only=True)) == [3, 2, 4]
    assert numbers(await journal.list_invoices(pending_only=True, offset=1)) == [2, 4]
    assert await journal.list_invoices(offset=9) == []


async def test_lists_go_on_after_the_last_one_seen(journal: Journal) -> None:
    """A list begins after an invoice or a payment, whatever became of that one since; an unknown one is refused."""
    for number in (3, 1, 2, 5, 4):
        await journal.add_invoice(an_invoice(number))
        await journal.begin_payment(a_payment(number, sent_at=NOON))
        await become(journal, a_payment(number, sent_at=NOON), status=UNKNOWN if number == 5 else FAILED)
    await journal.begin_payment(a_payment(1, attempt=2))
    await settle(journal, 1)
    one, last, unknown = an_invoice(1).payment_hash, an_invoice(4).payment_hash, an_invoice(9).payment_hash
    assert numbers(await journal.list_invoices(after=one)) == [2, 5, 4]
    assert numbers(await journal.list_invoices(after=one, pending_only=True, offset=1)) == [5, 4]
    assert await journal.list_invoices(after=last) == []
    assert numbers(await journal.list_payments(after=one)) == [2, 4]
    assert numbers(await journal.list_payments(after=one, include_pending=True)) == [2, 5, 4]
    for listing in (journal.list_invoices(after=unknown), journal.list_payments(after=unknown)):
        with pytest.raises(InvalidRequest, match="after: names no"):
            await listing


async def test_an_orphan_that_the_host_gets_is_the_last_invoice(journal: Journal) -> None:
    """Somebody who has listed all finds it after the last one, though the server made it before."""
    await journal.add_orphan(an_invoice(1))
    for number in (2, 1, 3):
        await journal.add_invoice(an_invoice(number))
    assert numbers(await journal.list_invoices(after=an_invoice(2).payment_hash)) == [1, 3]


@pytest.mark.parametrize("page", [1, 2, 3, 4, 500])
async def test_pending_invoices_come_page_by_page(journal: Journal, page: int) -> None:
    """Unpaid invoices come by expiry, each once, however many are read at once and though some expire together."""
    for number in (7, 3, 5, 1, 8):
        await journal.add_invoice(an_invoice(number, expires_at=NOON + timedelta(seconds=number // 4)))
    await settle(journal, 7)
    await journal.add_orphan(an_invoice(2))
    assert numbers([row async for row in journal.pending_invoices(page=page)]) == [3, 1, 5, 8]


async def test_orphans_are_nobodys(journal: Journal) -> None:
    """An orphan is kept, and neither found nor listed nor settled nor expired as the host's."""
    await journal.add_orphan(an_invoice(1))
    await journal.add_orphan(an_invoice(1, description="again"))
    assert await journal.find_invoice(an_invoice(1).payment_hash) is None
    assert await journal.list_invoices() == []
    assert [row async for row in journal.pending_invoices()] == []
    assert await settle(journal, 1) is None
    assert await journal.expire_invoice(an_invoice(1).payment_hash) is None
    assert await journal.last_settle_index() == 0
    assert await journal.list_orphans() == [an_invoice(1, orphan=True)]


async def test_an_orphan_can_become_the_hosts_and_never_the_reverse(journal: Journal) -> None:
    """An invoice that the host gets after all is his; one that he has got stays his."""
    await journal.add_orphan(an_invoice(1))
    await journal.add_invoice(an_invoice(1))
    await journal.add_orphan(an_invoice(1))
    assert await journal.list_invoices() == [an_invoice(1)]
    assert await journal.list_orphans() == []


# --- settling -----------------------------------------------------------------------------------------------------


async def test_settling_gives_the_next_index(journal: Journal) -> None:
    """Settled invoices are counted from one in the order in which they were settled, with what was received."""
    for number in (1, 2, 3):
        await journal.add_invoice(an_invoice(number))
    for number in (2, 3, 1):
        await settle(journal, number)
    settled = await journal.settled_after(0)
    assert numbers(settled) == [2, 3, 1]
    assert [row.settle_index for row in settled] == [1, 2, 3]
    assert await journal.last_settle_index() == 3
    assert numbers(await journal.settled_after(1)) == [3, 1]
    assert numbers(await journal.settled_after(0, limit=2)) == [2, 3]
    assert await journal.settled_after(3) == []


async def test_paid_is_for_good(journal: Journal) -> None:
    """Neither a second settlement nor the word expired changes what the first settlement said."""
    await journal.add_invoice(an_invoice(1, amount_msat=None))
    first = await settle(journal, 1, amount_received_msat=777, preimage="ab" * 32)
    assert first is not None
    assert (first.status, first.settle_index, first.amount_received_msat) == (PAID, 1, 777)
    assert (first.paid_at, first.preimage) == (NOON + timedelta(seconds=5), "ab" * 32)
    assert await settle(journal, 1, amount_received_msat=1, paid_at=NOON) == first
    assert await journal.expire_invoice(first.payment_hash) == first
    assert await journal.find_invoice(first.payment_hash) == first
    assert await journal.last_settle_index() == 1


async def test_a_late_payment_revives_an_expired_invoice(journal: Journal) -> None:
    """PAID is believed whenever it comes."""
    await journal.add_invoice(an_invoice(1))
    expired = await journal.expire_invoice(an_invoice(1).payment_hash)
    assert expired is not None
    assert expired.status is EXPIRED
    paid = await settle(journal, 1)
    assert paid is not None
    assert (paid.status, paid.settle_index) == (PAID, 1)


async def test_what_expired_lately_comes_after_the_unpaid(journal: Journal) -> None:
    """Expired invoices are yielded where that is asked for, from a moment on, page by page."""
    for number in range(1, 6):
        await journal.add_invoice(an_invoice(number))
    for number in (1, 2, 4):
        await journal.expire_invoice(an_invoice(number).payment_hash)
    since = an_invoice(1).expires_at
    assert numbers([row async for row in journal.pending_invoices(expired_since=since, page=1)]) == [3, 5, 2, 4]
    assert numbers([row async for row in journal.pending_invoices()]) == [3, 5]


async def test_paid_is_kept_before_the_amount_is_known(journal: Journal) -> None:
    """What was not known at the settlement is added later, once; what is known stays as it is."""
    await journal.add_invoice(an_invoice(1, amount_msat=None))
    first = await settle(journal, 1, amount_received_msat=None)
    assert first is not None
    assert (first.status, first.settle_index, first.amount_received_msat) == (PAID, 1, None)
    completed = await journal.complete_invoice(first.payment_hash, amount_received_msat=7)
    assert completed == replace(first, amount_received_msat=7)
    assert await journal.complete_invoice(first.payment_hash, amount_received_msat=8, preimage="ab") == replace(
        first, amount_received_msat=7, preimage="ab"
    )
    earlier = an_invoice(1).created_at
    known = replace(first, amount_received_msat=7, preimage="ab", paid_at=earlier)
    assert await journal.complete_invoice(first.payment_hash, paid_at=earlier) == known
    assert await journal.settled_after(0) == [known]


async def test_only_paid_invoices_are_completed(journal: Journal) -> None:
    """An unpaid invoice has received nothing, and one that is not there stays away."""
    await journal.add_invoice(an_invoice(1))
    assert await journal.complete_invoice(an_invoice(1).payment_hash, amount_received_msat=7) == an_invoice(1)
    assert await journal.complete_invoice(an_invoice(2).payment_hash, amount_received_msat=7) is None


async def test_incomplete_invoices_are_found(journal: Journal) -> None:
    """Paid invoices without amount or preimage are listed, the latest first, as far back as is asked for."""
    for number in range(1, 6):
        await journal.add_invoice(an_invoice(number))
    for number, facts in (
        (1, {}),
        (2, {}),
        (3, {"preimage": "ab"}),
        (4, {"amount_received_msat": None, "preimage": "ab"}),
    ):
        await settle(journal, number, **facts)
    assert numbers(await journal.incomplete_invoices(an_invoice(1).expires_at)) == [4, 2]
    assert numbers(await journal.incomplete_invoices(NOON)) == [4, 2, 1]
    assert numbers(await journal.incomplete_invoices(NOON, limit=1)) == [4]


async def test_new_invoices_are_found_from_a_place_on(journal: Journal) -> None:
    """What was made since the last look is returned, unpaid ones only; some may come twice, none is left out."""
    await journal.add_invoice(an_invoice(1))
    made, place = await journal.made_after(None)
    assert made == []
    for number in (2, 3, 4):
        await journal.add_invoice(an_invoice(number))
    await settle(journal, 3)
    made, place = await journal.made_after(place)
    assert set(numbers(made)) - {1} == {2, 4}
    await journal.add_invoice(an_invoice(5))
    made, _ = await journal.made_after(place)
    assert {5} <= set(numbers(made)) <= {1, 2, 4, 5}


async def test_waiting_ends_when_an_invoice_is_made_or_completed(journal: Journal) -> None:
    """Who watches is woken by a new invoice, and who tells of settlements by an amount that came later."""
    await journal.last_settle_index()
    waiting = asyncio.create_task(woken(journal, Topic.MADE))
    await asyncio.sleep(0)
    await journal.add_invoice(an_invoice(1, amount_msat=None))
    await waiting
    await settle(journal, 1, amount_received_msat=None)
    waiting = asyncio.create_task(woken(journal, Topic.SETTLED))
    await asyncio.sleep(0)
    await journal.complete_invoice(an_invoice(1).payment_hash, amount_received_msat=7)
    await waiting


async def test_many_settlements_at_once(journal: Journal) -> None:
    """Indexes have neither gap nor duplicate when many settle at once, some of them the same invoice."""
    for number in range(20):
        await journal.add_invoice(an_invoice(number))
    await asyncio.gather(*(settle(journal, number % 20) for number in range(40)))
    settled = await journal.settled_after(0)
    assert [row.settle_index for row in settled] == list(range(1, 21))
    assert sorted(numbers(settled)) == list(range(20))


async def test_who_waits_is_woken_when_an_invoice_is_settled(journal: Journal) -> None:
    """Who waits is woken, and finds the settlement when he looks."""
    await journal.add_invoice(an_invoice(1))

    async def hear() -> list[InvoiceRecord]:
        while not (settled := await journal.settled_after(0)):
            await woken(journal, Topic.SETTLED)
        return settled

    async with asyncio.timeout(20):
        heard, _ = await asyncio.gather(hear(), settle(journal, 1))
    assert numbers(heard) == [1]


# --- the budget ---------------------------------------------------------------------------------------------------


async def spend(
    journal: Journal, limit: InvoiceBudget | None, now: datetime, count: int = 1, bucket: Bucket = Bucket.OWN
) -> timedelta | None:
    """Take invoices out of a budget; return how long they have to wait, None when they were taken."""
    wait = await journal.spend_invoices(bucket, limit, now, count)
    return None if wait is None else wait.until - now


async def test_budget_is_a_sliding_window(journal: Journal) -> None:
    """As many invoices as the limit says can be taken within the window, the next when the first of them leaves it."""
    assert await spend(journal, LIMIT, NOON) is None
    assert await spend(journal, LIMIT, NOON + timedelta(seconds=100)) is None
    assert await spend(journal, LIMIT, NOON + timedelta(seconds=101)) == timedelta(seconds=19)
    assert await spend(journal, LIMIT, NOON + timedelta(seconds=120)) is None
    assert await spend(journal, LIMIT, NOON + timedelta(seconds=121)) == timedelta(seconds=99)
    assert await spend(journal, None, NOON + timedelta(seconds=121)) is None


async def test_budget_taken_at_once_is_never_exceeded(journal: Journal) -> None:
    """Of many who ask at the same time only that many get an invoice."""
    asked = await asyncio.gather(*(spend(journal, InvoiceBudget(5, 120), NOON) for _ in range(12)))
    assert asked.count(None) == 5


async def test_budget_is_given_whole_or_not_at_all(journal: Journal) -> None:
    """Who asks for several gets all of them, or none and the time when there will be as many."""
    limit = InvoiceBudget(5, 120)
    assert await spend(journal, limit, NOON, 2) is None
    assert await spend(journal, limit, NOON + timedelta(seconds=10), 2) is None
    assert await spend(journal, limit, NOON + timedelta(seconds=20), 2) == timedelta(seconds=100)
    assert await spend(journal, limit, NOON + timedelta(seconds=20), 4) == timedelta(seconds=110)
    assert await spend(journal, limit, NOON + timedelta(seconds=20)) is None
    assert await spend(journal, limit, NOON + timedelta(seconds=120), 2) is None


async def test_block_stops_everybody_until_it_ends(journal: Journal) -> None:
    """While the server blocks the account nothing is taken, not even without a limit."""
    await journal.block_invoices(Bucket.OWN, NOON + timedelta(minutes=5))
    assert await spend(journal, LIMIT, NOON) == timedelta(minutes=5)
    assert await spend(journal, None, NOON + timedelta(minutes=1)) == timedelta(minutes=4)
    assert await spend(journal, LIMIT, NOON + timedelta(minutes=5)) is None


async def test_a_block_is_never_shortened(journal: Journal) -> None:
    """A later, shorter refusal leaves the longer block in force; one far beyond it comes of a clock set back."""
    await journal.block_invoices(Bucket.OWN, NOON + timedelta(minutes=5))
    await journal.block_invoices(Bucket.OWN, NOON + timedelta(seconds=1))
    assert await spend(journal, LIMIT, NOON) == timedelta(minutes=5)
    await journal.block_invoices(Bucket.OWN, NOON + timedelta(minutes=6))
    assert await spend(journal, None, NOON) == timedelta(minutes=6)
    await journal.block_invoices(Bucket.OWN, NOON - timedelta(days=1))
    assert await spend(journal, LIMIT, NOON - timedelta(days=1, minutes=1)) == timedelta(minutes=1)


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
async def test_budget_survives_a_clock_that_jumps_by_a_day(journal: Journal, jump: timedelta) -> None:
    """Nobody waits longer than the window, and the budget goes on being kept."""
    await journal.block_invoices(Bucket.OWN, NOON + timedelta(minutes=5))
    later = NOON + timedelta(minutes=5)
    assert [await spend(journal, LIMIT, later) for _ in range(2)] == [None, None]
    wait = await spend(journal, LIMIT, later + jump)
    assert (wait or timedelta(0)) <= timedelta(seconds=120)
    over = later + jump + timedelta(seconds=120)
    taken = [await spend(journal, LIMIT, over) for _ in range(4)]
    assert 1 <= taken.count(None) <= 2


async def test_what_cost_nothing_is_put_back(journal: Journal) -> None:
    """What was taken at a time is there again for others; what was taken before it or since still counts."""
    second = timedelta(seconds=1)
    assert await spend(journal, LIMIT, NOON) is None
    assert await spend(journal, LIMIT, NOON + 60 * second) is None
    await journal.return_invoices(Bucket.OWN, [NOON + 60 * second])
    assert await spend(journal, LIMIT, NOON + 61 * second) is None
    assert await spend(journal, LIMIT, NOON + 62 * second) == 58 * second
    await journal.return_invoices(Bucket.OWN, [NOON])
    assert await spend(journal, LIMIT, NOON + 63 * second) is None
    assert await spend(journal, LIMIT, NOON + 64 * second) == 117 * second
    await journal.return_invoices(Bucket.OWN, [NOON])
    assert await spend(journal, LIMIT, NOON + 65 * second) == 116 * second


async def test_two_buckets_know_nothing_of_each_other(journal: Journal) -> None:
    """What one budget has taken, put back or blocked changes nothing for the other; a wait says which of them it is."""
    assert await spend(journal, LIMIT, NOON, 2) is None
    assert await spend(journal, LIMIT, NOON, 2, Bucket.PUBLIC) is None
    await journal.return_invoices(Bucket.PUBLIC, [NOON, NOON])
    assert await spend(journal, LIMIT, NOON) == timedelta(seconds=120)
    await journal.block_invoices(Bucket.PUBLIC, NOON + timedelta(minutes=5))
    own = await journal.spend_invoices(Bucket.OWN, LIMIT, NOON)
    assert own == BudgetWait(NOON + timedelta(seconds=120), blocked=False)
    public = await journal.spend_invoices(Bucket.PUBLIC, None, NOON)
    assert public == BudgetWait(NOON + timedelta(minutes=5), blocked=True)


# --- payments -----------------------------------------------------------------------------------------------------


async def become(journal: Journal, record: PaymentRecord, **changes: Any) -> PaymentRecord:
    """Change an attempt that is as this record says, and return it as it is then."""
    changed = replace(record, **changes)
    assert await journal.update_payment(changed, seen=record) == changed
    return changed


async def test_payment_comes_back_as_it_was(journal: Journal) -> None:
    """An attempt survives with its key, amounts, fee, times, and the words of a failure."""
    made = a_payment(1, cents=Decimal("0.10"), idempotency_key=None, begun_by="me", resolve_early=True)
    assert await journal.begin_payment(made) == Begun(made)
    assert await journal.find_payment(made.payment_hash) == made
    ended = await become(
        journal,
        made,
        status=COMPLETE,
        fee_msat=12,
        preimage="cd" * 32,
        failure="none, really",
        sent_at=NOON,
        sender_until=NOON + timedelta(seconds=30),
        settled_by_hand="seen in the app",
    )
    assert await journal.find_payment(made.payment_hash) == ended


@pytest.mark.parametrize("status", [PENDING, UNKNOWN, COMPLETE])
async def test_a_payment_that_may_be_under_way_is_never_begun_again(
    journal: Journal, status: LightningPaymentStatus
) -> None:
    """A caller that begins while an attempt has not definitely failed gets that attempt; nothing of its own is kept."""
    first = a_payment(1)
    await journal.begin_payment(first)
    standing = await become(journal, first, status=status)
    assert await journal.begin_payment(a_payment(1, attempt=2)) == Counted(standing)
    assert await journal.find_payment(first.payment_hash) == standing


async def test_the_same_attempt_begun_twice_counts_for_one_caller_only(journal: Journal) -> None:
    """Two callers with equal records: one may send, the other may not."""
    mine, yours = a_payment(1), a_payment(1)
    assert await journal.begin_payment(mine) == Begun(mine)
    assert await journal.begin_payment(yours) == Counted(mine)


async def test_attempts_are_kept_one_by_one(journal: Journal) -> None:
    """After a definite failure a new attempt is kept beside the old one, and the payment is told by the latest."""
    first, second = a_payment(1, sent_at=NOON), a_payment(1, attempt=2)
    await journal.begin_payment(first)
    failed = await become(journal, first, status=FAILED, failure="no route")
    assert await journal.begin_payment(second) == Begun(second)
    assert await journal.update_payment(failed, seen=failed) == failed
    assert await journal.find_payment(first.payment_hash) == second
    assert numbers(await journal.list_payments(include_pending=True)) == [1]


async def test_attempts_that_were_never_sent_take_one_row(journal: Journal) -> None:
    """A host that tries every minute what fails before it is sent leaves one row, and its place in the list stays."""
    await journal.begin_payment(a_payment(1))
    await become(journal, a_payment(1), status=FAILED)
    await journal.begin_payment(a_payment(2))
    for attempt in (2, 3, 4):
        made = a_payment(1, attempt=attempt)
        assert await journal.begin_payment(made) == Begun(made)
        assert await journal.update_payment(a_payment(1), seen=a_payment(1)) is None
        failed = await become(journal, made, status=FAILED)
        assert await journal.find_payment(made.payment_hash) == failed
    assert numbers(await journal.list_payments(include_pending=True)) == [1, 2]


async def test_an_attempt_number_is_used_once(journal: Journal) -> None:
    """A caller that begins with a number that has failed meanwhile gets that failure and may not send."""
    first = a_payment(1)
    await journal.begin_payment(first)
    failed = await become(journal, first, status=FAILED)
    late = a_payment(1, created_at=NOON + timedelta(seconds=1))
    assert await journal.begin_payment(late) == Counted(failed)


async def test_an_older_attempt_that_completes_after_all_tells_the_payment(journal: Journal) -> None:
    """A payment is complete once any attempt is, and under way while any may be: what came later does not hide it."""
    first, second = a_payment(1, sent_at=NOON), a_payment(1, attempt=2, sent_at=NOON)
    await journal.begin_payment(first)
    failed = await become(journal, first, status=FAILED)
    await journal.begin_payment(second)
    await become(journal, second, status=FAILED)
    unknown = await become(journal, failed, status=UNKNOWN)
    assert await journal.find_payment(first.payment_hash) == unknown
    assert await journal.unresolved_payments() == [unknown]
    assert await journal.begin_payment(a_payment(1, attempt=3)) == Counted(unknown)
    complete = await become(journal, unknown, status=COMPLETE)
    assert await journal.find_payment(first.payment_hash) == complete


@pytest.mark.parametrize(
    "decided",
    [
        {"status": COMPLETE},
        {"status": FAILED},
        {"status": UNKNOWN},
        {"idempotency_key": None},
        {"sent_at": NOON},
    ],
)
async def test_nothing_is_written_over_what_was_not_seen(journal: Journal, decided: dict[str, Any]) -> None:
    """A writer that goes by an older state changes nothing and gets the attempt as it stands."""
    made = a_payment(1)
    await journal.begin_payment(made)
    standing = await become(journal, made, **decided)
    for status in (PENDING, FAILED, UNKNOWN, COMPLETE):
        assert await journal.update_payment(replace(made, status=status), seen=made) == standing
    another = replace(made, begun_by="another call")
    assert await journal.update_payment(replace(standing, status=FAILED), seen=another) == standing
    assert await journal.find_payment(made.payment_hash) == standing
    assert await journal.update_payment(a_payment(1, attempt=2), seen=a_payment(1, attempt=2)) is None
    assert await journal.update_payment(a_payment(2), seen=a_payment(2)) is None


async def test_one_of_many_begins(journal: Journal) -> None:
    """Of many who begin the same payment at once exactly one may send."""
    mine = [a_payment(1, created_at=NOON + timedelta(seconds=number)) for number in range(10)]
    decisions = await asyncio.gather(*(journal.begin_payment(record) for record in mine))
    (winner,) = [decision.record for decision in decisions if isinstance(decision, Begun)]
    assert [decision.record for decision in decisions] == [winner] * 10


async def test_payments_are_listed_in_the_order_first_attempted(journal: Journal) -> None:
    """Each payment is listed once, by its first attempt's age; those without a known end only when asked for."""
    for number, status in ((3, FAILED), (1, COMPLETE), (2, UNKNOWN), (4, PENDING)):
        await journal.begin_payment(a_payment(number, sent_at=NOON))
        await become(journal, a_payment(number, sent_at=NOON), status=status)
    await journal.begin_payment(a_payment(3, attempt=2))
    await become(journal, a_payment(3, attempt=2), status=FAILED)
    assert numbers(await journal.list_payments()) == [3, 1]
    assert numbers(await journal.list_payments(include_pending=True)) == [3, 1, 2, 4]
    assert numbers(await journal.list_payments(include_pending=True, offset=2)) == [2, 4]
    assert [row.attempt for row in await journal.list_payments()] == [2, 1]
    assert numbers(await journal.unresolved_payments()) == [2, 4]
    assert await journal.find_payment("ff" * 32) is None


# --- accounts -----------------------------------------------------------------------------------------------------


async def test_accounts_never_see_each_others(store: JournalStore, journal: Journal) -> None:
    """Two accounts on one journal share nothing: invoices, settlements, budget, payments and cursors are their own."""
    other = await open_journal(store, "another fingerprint", "server another")
    await journal.add_invoice(an_invoice(1))
    await journal.add_orphan(an_invoice(2))
    await journal.begin_payment(a_payment(3))
    await spend(journal, InvoiceBudget(1, 120), NOON)
    await journal.block_invoices(Bucket.OWN, NOON + timedelta(minutes=5))
    assert await other.find_invoice(an_invoice(1).payment_hash) is None
    assert await settle(other, 1) is None
    assert await other.expire_invoice(an_invoice(1).payment_hash) is None
    assert await spend(other, InvoiceBudget(1, 120), NOON) is None
    assert await other.find_payment(a_payment(3).payment_hash) is None
    assert await other.update_payment(a_payment(3, status=COMPLETE), seen=a_payment(3)) is None
    await settle(journal, 1)
    assert await other.settled_after(0) == []
    assert await other.last_settle_index() == 0
    listed = await other.list_invoices(), await other.list_orphans(), await other.list_payments(include_pending=True)
    assert listed == ([], [], [])
    assert other.id != journal.id
    found = await journal.find_payment(a_payment(3).payment_hash)
    assert found == a_payment(3)


async def test_both_can_know_the_same_invoice(store: JournalStore, journal: Journal) -> None:
    """One account may pay what another one receives, and each settles its own."""
    other = await open_journal(store, "another fingerprint", "server another")
    for each in (journal, other):
        await each.add_invoice(an_invoice(1))
    await settle(journal, 1)
    assert [row.status for row in await other.list_invoices()] == [UNPAID]


async def test_a_new_login_finds_the_accounts_invoices(store: JournalStore, journal: Journal) -> None:
    """What is kept belongs to the account: a new token of the same account opens the same journal."""
    await journal.add_invoice(an_invoice(1))
    with pytest.raises(LookupError, match="new fingerprint"):
        await open_journal(store, "new fingerprint", None)
    again = await open_journal(store, "new fingerprint", "account")
    assert (again.id, await again.list_invoices()) == (journal.id, [an_invoice(1)])
    without_asking = await open_journal(store, "new fingerprint", None)
    assert without_asking.id == journal.id
    await again.owner.aclose()
    assert await journal.list_invoices() == [an_invoice(1)]


async def test_a_token_follows_what_the_server_says(store: JournalStore, journal: Journal) -> None:
    """When the server names another account for a known token, that account's journal is opened from then on."""
    moved = await open_journal(store, "fingerprint", "server another")
    assert moved.id != journal.id
    now = await open_journal(store, "fingerprint", None)
    assert now.id == moved.id


async def test_no_other_account_pays_what_one_is_paying(store: JournalStore, journal: Journal) -> None:
    """While an attempt of one account is open or complete, another account's is refused; after a failure it is not."""
    other = await open_journal(store, "another fingerprint", "another.example/graphql account")
    mine = a_payment(1)
    await journal.begin_payment(mine)
    for status in (PENDING, UNKNOWN, COMPLETE):
        mine, seen = replace(mine, status=status), mine
        assert await journal.update_payment(mine, seen=seen) == mine
        with pytest.raises(KnownElsewhere, match="knows this payment under another account"):
            await other.begin_payment(a_payment(1))
        assert await other.find_payment(mine.payment_hash) is None
    failed = a_payment(2)
    await journal.begin_payment(failed)
    await journal.update_payment(replace(failed, status=FAILED), seen=failed)
    assert isinstance(await other.begin_payment(a_payment(2)), Begun)
    with pytest.raises(KnownElsewhere, match=r"of another\.example/graphql; use that account's"):
        await journal.begin_payment(a_payment(2, attempt=2))


async def test_of_accounts_that_begin_the_same_payment_at_once_one_wins(store: JournalStore) -> None:
    """Of many accounts that begin the same payment at the same moment one alone may send it."""
    journals = [await open_journal(store, f"fingerprint {n}", f"server account {n}") for n in range(6)]
    begun = await asyncio.gather(*(each.begin_payment(a_payment(1)) for each in journals), return_exceptions=True)
    assert sorted(type(each).__name__ for each in begun) == ["Begun"] + ["KnownElsewhere"] * 5


async def test_what_another_account_knows_is_not_unknown(store: JournalStore, journal: Journal) -> None:
    """An invoice or a payment of another account is told as that, whatever its server; what nobody knows is unknown."""
    other = await open_journal(store, "another fingerprint", "server another")
    await journal.add_invoice(an_invoice(1))
    await journal.begin_payment(a_payment(2))
    with pytest.raises(KnownElsewhere, match="knows this invoice under another account"):
        await other.insist_unknown("invoice", an_invoice(1).payment_hash)
    with pytest.raises(KnownElsewhere, match="knows this payment under another account"):
        await other.insist_unknown("payment", a_payment(2).payment_hash)
    await other.insist_unknown("payment", an_invoice(1).payment_hash)
    await journal.insist_unknown("invoice", an_invoice(1).payment_hash)


async def test_a_second_server_never_opens_the_account_of_a_first(store: JournalStore) -> None:
    """A server that claims the account id of another server's account gets a journal of its own."""
    one = await open_journal(store, "one", account_scope("https://one.example/graphql", "the-same-id"))
    await one.add_invoice(an_invoice(1))
    two = await open_journal(store, "two", account_scope("https://two.example/graphql", "the-same-id"))
    assert two.id != one.id
    assert await two.list_invoices() == []
    assert await settle(two, 1) is None


@pytest.mark.parametrize(
    ("server", "scope"),
    [
        ("https://api.flashapp.me/graphql", "api.flashapp.me/graphql id"),
        ("https://api.flashapp.me:443/graphql", "api.flashapp.me/graphql id"),
        ("http://api.flashapp.me:80/graphql", "api.flashapp.me/graphql id"),
        ("https://api.flashapp.me:8443/graphql", "api.flashapp.me:8443/graphql id"),
        ("http://[::1]:4010/graphql", "[::1]:4010/graphql id"),
    ],
)
def test_what_names_a_server(server: str, scope: str) -> None:
    """Host, port and path name a server; whether it is reached with TLS makes no difference."""
    assert account_scope(server, "id") == scope
