"""Tap to pay: terminals, cards and the ledger, in front of a wallet that does as the test says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import text

from connection_strings import (
    BackendUnavailable,
    LightMoney,
    LightningPaymentStatus,
    NotSupported,
    PayDetails,
    PayResponse,
    PayResult,
    RequestRefused,
)
from lightning_host.database import Database
from tests.lightning_host.fake_driver import FakeClient, FakeNode
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import KEY
from tests.support.terminals import (
    FLASHCARD_KEY,
    Terminal,
    balance,
    card_api,
    funded_card,
    make_card,
    top_up,
    write_card,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.postgres import PostgresServer

FEE: Final = 1_500
"""What the fake wallet takes for a payment, in millisatoshi."""


def invoice_of(node: FakeNode, sat: int, *, expiry: timedelta = timedelta(hours=1)) -> str:
    """Sign a terminal's BOLT11."""
    signed = node.signer.sign(msat=sat * 1000 or None, description="", now=datetime.now(UTC), expiry=expiry)
    return signed.payment_request


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, hosts: HostBench) -> str:
    """Give an empty database of each kind."""
    if request.param == "sqlite":
        return hosts.sqlite()
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return postgres.new_database()


async def start(hosts: HostBench, node: FakeNode, **settings: Any) -> RunningHost:
    """Start a host whose cards can be spent."""
    return await hosts.host(node, flashcard_key=FLASHCARD_KEY, **settings)


async def payments(host: RunningHost, card: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return state and charge of each payment of the card, newest first."""
    return [(each["status"], each["charged"]) for each in await card_api(host, card, "GET", "/payments")]


async def ended(host: RunningHost, card: dict[str, Any]) -> None:
    """Wait until no payment of the card is open."""

    async def none_open() -> bool:
        return all(state != "paying" for state, _ in await payments(host, card))

    await eventually(none_open)


async def test_tap_pay_and_book(hosts: HostBench, node: FakeNode, database: str) -> None:
    """A card is tapped, its terminal paid; amount and fee leave the card once, however often the terminal asks."""
    host = await start(hosts, node, database=database)
    card, chip = await funded_card(host, node, 10_000)
    terminal, pr = Terminal(host), invoice_of(node, 1_000)
    offer = await terminal.read(chip.tap())
    assert (offer["tag"], offer["minWithdrawable"], offer["maxWithdrawable"]) == ("withdrawRequest", 1_000, 9_900_990)
    assert "pinLimit" not in offer
    assert await terminal.charge(offer, pr) == {"status": "OK"}
    for again in (pr, pr.upper()):
        assert await terminal.charge(offer, again) == {"status": "OK"}
    await ended(host, card)
    assert await payments(host, card) == [("paid", str(1_000_000 + FEE))]
    assert await balance(host, card) == 10_000_000 - 1_000_000 - FEE
    other = await terminal.charge(offer, invoice_of(node, 1_000))
    assert (other["status"], "another invoice" in other["reason"]) == ("ERROR", True)
    assert len(node.paid_with) == 1
    assert node.paid_with[0].max_fee_flat == LightMoney.from_sat(20)


async def test_replay_is_refused(hosts: HostBench, node: FakeNode) -> None:
    """A message counts once, at all replicas together; an older one never; what is read offline later still counts."""
    one, two = await start(hosts, node), await start(hosts, node)
    _, chip = await funded_card(one, node, 10_000)
    older, url = chip.tap(), chip.tap()
    told = await asyncio.gather(*(Terminal(host).read(url) for host in (one, two) * 3))
    assert sorted(each.get("tag", "refused") for each in told) == ["refused"] * 5 + ["withdrawRequest"]
    for used in (older, url, chip.message(0)):
        assert "used before" in (await Terminal(two).read(used))["reason"]
    assert (await Terminal(two).read(chip.message(2**24 - 1)))["tag"] == "withdrawRequest"


@pytest.mark.parametrize("change", ["p", "c", "uid", "key"])
async def test_forged_messages(hosts: HostBench, node: FakeNode, change: str) -> None:
    """A message that another chip or nobody made opens nothing, and does not move the counter."""
    host = await start(hosts, node)
    _, chip = await funded_card(host, node, 10_000)
    assert (await Terminal(host).read(chip.tap()))["tag"] == "withdrawRequest"
    forged = chip.tap()
    if change in ("p", "c"):
        forged = forged.replace(f"{change}=", f"{change}=0")
    elif change == "uid":
        chip.uid, was = b"\x04others", chip.uid
        forged, chip.uid = chip.tap(), was
    else:
        chip.signing_key, was = bytes(16), chip.signing_key
        forged, chip.signing_key = chip.tap(), was
    assert (await Terminal(host).read(forged))["status"] == "ERROR"
    assert (await Terminal(host).read(chip.tap()))["tag"] == "withdrawRequest"
    assert (await host.get("/flashcard-tap/unknown?p=&c="))[0] == 404


async def test_two_replicas_are_asked_at_once(hosts: HostBench, node: FakeNode, postgres: PostgresServer) -> None:
    """One code at two replicas at once pays once; the money of one card is never spent twice by many taps."""
    database = postgres.new_database()
    one, two = [await start(hosts, node, database=database) for _ in range(2)]
    card, chip = await funded_card(one, node, 10_000)
    offer, pr = await Terminal(one).read(chip.tap()), invoice_of(node, 1_000)
    told = await asyncio.gather(*(Terminal(host).charge(offer, pr) for host in (one, two) * 2))
    assert told == [{"status": "OK"}] * 4
    assert len(node.paid_with) == 1
    offers = [await Terminal(one).read(chip.tap()) for _ in range(6)]
    requests = [invoice_of(node, 3_000) for _ in offers]
    asked = zip((one, two) * 3, offers, requests, strict=True)
    told = await asyncio.gather(*(Terminal(host).charge(offer, pr) for host, offer, pr in asked))
    assert [each["status"] for each in told].count("OK") == 2
    await ended(two, card)
    assert await balance(two, card) == 10_000_000 - 7_000_000 - 3 * FEE


async def test_one_invoice_and_two_cards(hosts: HostBench, node: FakeNode) -> None:
    """An invoice is paid with one card only, whether the second tap comes at the same time or later."""
    host = await start(hosts, node)
    (first, one), (second, two) = [await funded_card(host, node, 10_000) for _ in range(2)]
    terminal, pr = Terminal(host), invoice_of(node, 1_000)
    offers = [await terminal.read(chip.tap()) for chip in (one, two)]
    told = await asyncio.gather(*(terminal.charge(offer, pr) for offer in offers))
    assert sorted(each["status"] for each in told) == ["ERROR", "OK"]
    assert "nothing was taken" in (await terminal.charge(await terminal.read(one.tap()), pr))["reason"]
    await ended(host, first)
    await ended(host, second)
    assert await balance(host, first) + await balance(host, second) == 20_000_000 - 1_000_000 - FEE


async def test_an_invoice_that_the_shop_has_paid(hosts: HostBench, node: FakeNode) -> None:
    """What the store paid by itself, before or at the same time, costs no card anything."""
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal, pr = Terminal(host), invoice_of(node, 1_000)
    await host.greenfield("POST", "/invoices/pay", {"BOLT11": pr})
    told = await terminal.charge(await terminal.read(chip.tap()), pr)
    assert "was paid before" in told["reason"]
    assert (await payments(host, card), await balance(host, card)) == ([], 10_000_000)


@pytest.mark.parametrize("sat", [0, 9_901])
async def test_invoices_that_the_card_does_not_pay(hosts: HostBench, node: FakeNode, sat: int) -> None:
    """No amount, too much, all there is, nonsense, an expired one are refused; the code stays good for a right one."""
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal, expired = Terminal(host), datetime.now(UTC) - timedelta(hours=2)
    offer = await terminal.read(chip.tap())
    old = node.signer.sign(msat=1_000, description="", now=expired, expiry=timedelta(hours=1)).payment_request
    all_there_is = invoice_of(node, LightMoney.MAX.msat // 1_000)
    for pr in (invoice_of(node, sat), all_there_is, "lnbc1nonsense", "", old):
        assert (await terminal.charge(offer, pr))["status"] == "ERROR"
    assert (await terminal.charge({**offer, "k1": "00" * 16}, old))["status"] == "ERROR"
    assert (await payments(host, card), node.paid_with) == ([], [])
    assert (await terminal.charge(offer, invoice_of(node, 9_000)))["status"] == "OK"


async def test_limits_per_tap_and_day(hosts: HostBench, node: FakeNode) -> None:
    """Neither limit is passed, by offers that were made before it was reached either; null lifts it."""
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000, maxPerTap="2000000", maxPerDay="3000000")
    terminal = Terminal(host)
    offers = [await terminal.read(chip.tap()) for _ in range(3)]
    assert {offer["maxWithdrawable"] for offer in offers} == {2_000_000}
    assert "at once" in (await terminal.charge(offers[0], invoice_of(node, 2_001)))["reason"]
    assert (await terminal.charge(offers[0], invoice_of(node, 2_000)))["status"] == "OK"
    assert "today" in (await terminal.charge(offers[1], invoice_of(node, 1_001)))["reason"]
    assert (await terminal.charge(offers[1], invoice_of(node, 1_000)))["status"] == "OK"
    assert "today" in (await terminal.read(chip.tap()))["reason"]
    told = await card_api(host, card, "PATCH", "/spending", {"maxPerDay": None})
    assert (told["maxPerTap"], told["maxPerDay"], told["spentToday"]) == ("2000000", None, "3000000")
    assert (await terminal.charge(offers[2], invoice_of(node, 1_001)))["status"] == "OK"


async def test_pin_above_a_limit(hosts: HostBench, node: FakeNode) -> None:
    """From the limit on the PIN is needed; a wrong one can be mended, the third freezes the card until it is thawed."""
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000, pin="4711", pinLimit="1000000")
    terminal = Terminal(host)
    offer = await terminal.read(chip.tap())
    assert offer["pinLimit"] == 1_000_000
    assert (await terminal.charge(offer, invoice_of(node, 999)))["status"] == "OK"
    offer, pr = await terminal.read(chip.tap()), invoice_of(node, 1_000)
    assert "needs the PIN" in (await terminal.charge(offer, pr))["reason"]
    assert "PIN is wrong" in (await terminal.charge(offer, pr, pin="4712"))["reason"]
    assert (await terminal.charge(offer, pr, pin="4711"))["status"] == "OK"
    assert (await card_api(host, card, "GET", "/spending"))["wrongPins"] == 0
    offer, pr = await terminal.read(chip.tap()), invoice_of(node, 1_000)
    told = await asyncio.gather(*(terminal.charge(offer, pr, pin=f"000{digit}") for digit in range(5)))
    assert sorted("frozen" in each["reason"] for each in told) == [False, False, True, True, True]
    assert "frozen" in (await terminal.charge(offer, pr, pin="4711"))["reason"]
    assert "frozen" in (await terminal.read(chip.tap()))["reason"]
    thawed = await card_api(host, card, "PATCH", "/spending", {"frozen": False})
    assert (thawed["frozen"], thawed["wrongPins"]) == (False, 0)
    assert (await terminal.charge(offer, pr, pin="4711"))["status"] == "OK"
    without = await card_api(host, card, "PATCH", "/spending", {"pin": None})
    assert without["pinLimit"] is None
    assert (await terminal.charge(await terminal.read(chip.tap()), invoice_of(node, 2_000)))["status"] == "OK"


async def test_frozen_card(hosts: HostBench, node: FakeNode) -> None:
    """A frozen card pays nothing, with an offer that was made before either, and can be topped up."""
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal = Terminal(host)
    offer = await terminal.read(chip.tap())
    await card_api(host, card, "PATCH", "/spending", {"frozen": True})
    assert "frozen" in (await terminal.charge(offer, invoice_of(node, 1_000)))["reason"]
    assert "frozen" in (await terminal.read(chip.tap()))["reason"]
    await top_up(host, node, card, 1_000)
    assert await balance(host, card) == 11_000_000


async def test_top_up_while_paying(hosts: HostBench, node: FakeNode) -> None:
    """While a payment is under way its reservation is off the balance, and a top-up is added to what is left."""
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    going, go = node.before_paying = asyncio.Event(), asyncio.Event()
    terminal = Terminal(host)
    charging = asyncio.create_task(terminal.charge(await terminal.read(chip.tap()), invoice_of(node, 4_000)))
    async with asyncio.timeout(30):
        await going.wait()
    assert await balance(host, card) == 10_000_000 - 4_040_000
    assert (await card_api(host, card, "GET", "/spending"))["reserved"] == "4040000"
    await top_up(host, node, card, 3_000)
    go.set()
    assert await charging == {"status": "OK"}
    await ended(host, card)
    assert await balance(host, card) == 13_000_000 - 4_000_000 - FEE


def _refuses(error: Exception) -> Callable[..., Awaitable[PayResponse]]:
    async def pay(*_: object) -> PayResponse:
        raise error

    return pay


FAILURES: Final[dict[str, tuple[PayResult | Exception, str]]] = {
    "no route": (PayResult.COULD_NOT_FIND_ROUTE, "no route"),
    "error": (PayResult.ERROR, "failed"),
    "not supported": (NotSupported("a secret reason"), "this store's wallet can't do that"),
    "refused": (RequestRefused("a secret reason"), "the wallet of this store refused"),
    "not reached": (BackendUnavailable("paying", {"http": "a secret reason"}, executed=False), "can't be reached"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_a_failure_gives_everything_back(
    hosts: HostBench, node: FakeNode, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What certainly was not paid costs nothing; the terminal reads why, without a word of the wallet's own."""
    failure, words = FAILURES[case]
    if isinstance(failure, Exception):
        monkeypatch.setattr(FakeClient, "pay", _refuses(failure))
    else:
        node.pay_result = failure
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal, pr = Terminal(host), invoice_of(node, 1_000)
    offer = await terminal.read(chip.tap())
    await terminal.charge(offer, pr)
    await ended(host, card)
    told = await terminal.charge(offer, pr)
    assert (told["status"], words in told["reason"], "secret" in told["reason"]) == ("ERROR", True, False)
    assert (await payments(host, card), await balance(host, card)) == ([("failed", None)], 10_000_000)
    monkeypatch.undo()
    node.pay_result = PayResult.OK
    assert (await terminal.charge(await terminal.read(chip.tap()), pr))["status"] == "OK"


async def test_paid_by_another_call_meanwhile(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payment that turns out to have been made by another call than the card's is not the card's to bear."""

    async def pay(*_: object) -> PayResponse:
        details = PayDetails(payment_hash="00" * 32, status=LightningPaymentStatus.COMPLETE)
        return PayResponse(result=PayResult.OK, details=details, paid_before=True)

    monkeypatch.setattr(FakeClient, "pay", pay)
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal = Terminal(host)
    await terminal.charge(await terminal.read(chip.tap()), invoice_of(node, 1_000))
    await ended(host, card)
    assert (await payments(host, card), await balance(host, card)) == ([("failed", None)], 10_000_000)


@pytest.mark.parametrize("status", [LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED], ids=str)
async def test_unknown_keeps_the_reservation(hosts: HostBench, node: FakeNode, status: LightningPaymentStatus) -> None:
    """An unknown outcome keeps the money reserved, over a restart too, until the wallet knows; then it is booked."""
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal, pr = Terminal(host), invoice_of(node, 1_000)
    node.pay_result = PayResult.UNKNOWN
    offer = await terminal.read(chip.tap())
    assert await terminal.charge(offer, pr) == {"status": "OK"}
    assert await terminal.charge(offer, pr) == {"status": "OK"}
    assert await balance(host, card) == 10_000_000 - 1_020_000
    await host.stop()
    host = await start(hosts, node)
    assert await payments(host, card) == [("paying", None)]
    known_as, payment = next(iter(node.payments.items()))
    fee = LightMoney.from_msat(FEE) if status is LightningPaymentStatus.COMPLETE else None
    node.payments[known_as] = type(payment)(
        id=known_as,
        payment_hash=known_as,
        bolt11=pr,
        status=status,
        created_at=payment.created_at,
        amount=payment.amount,
        fee=fee,
    )
    await ended(host, card)
    paid = status is LightningPaymentStatus.COMPLETE
    assert await balance(host, card) == 10_000_000 - (1_000_000 + FEE if paid else 0)
    assert len(node.paid_with) == 1


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize(
    "error", [KeyError(), BackendUnavailable("paying", {"http": "it was cut off"}, executed=None)], ids=["died", "cut"]
)
async def test_a_host_that_died_or_was_cut_off_after_reserving(
    hosts: HostBench, node: FakeNode, *, sent: bool, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a vanished sender or a cut connection may have sent is waited for; what is known is booked at once."""
    gone = asyncio.Event()
    real = FakeClient.pay

    async def pay(self: FakeClient, *arguments: Any) -> PayResponse:
        if sent:
            await real(self, *arguments)
        gone.set()
        raise error  # a KeyError says nothing of the outcome, as if the process had ended here

    monkeypatch.setattr(FakeClient, "pay", pay)
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal = Terminal(host)
    offer = await terminal.read(chip.tap())
    await host.get(offer["callback"].removeprefix(host.url), params={"k1": offer["k1"], "pr": invoice_of(node, 1_000)})
    assert gone.is_set()
    if not sent:
        assert await payments(host, card) == [("paying", None)]
        database = await Database.open(hosts.secret())

        async def change(values: str) -> None:
            statement = text(f"UPDATE host_flashcard_taps SET {values}")  # noqa: S608 - of this test
            await database.write(lambda connection: connection.execute(statement))

        async def looked() -> bool:
            query = text("SELECT look_at > 0 FROM host_flashcard_taps")
            return bool(await database.read(lambda connection: connection.execute(query).scalar_one()))

        await change("look_at = 0")
        await eventually(looked)
        assert await payments(host, card) == [("paying", None)]
        await change("look_at = 0, sender_until = 1")  # as if two minutes had passed
        await database.aclose()
    await ended(host, card)
    expected = ("paid", str(1_000_000 + FEE)) if sent else ("failed", None)
    assert await payments(host, card) == [expected]
    assert await balance(host, card) == 10_000_000 - (1_000_000 + FEE if sent else 0)


async def test_page_shows_both_directions(hosts: HostBench, node: FakeNode) -> None:
    """An open page is told what was paid with the card by way of another replica, newest first, with its sign."""
    one, two = await start(hosts, node), await start(hosts, node)
    card, chip = await funded_card(one, node, 10_000)
    async with two.session.get(f"{two.url}/flashcards/{card['id']}/events") as stream:
        await stream.content.readuntil(b'"balance": "10,000"')
        await Terminal(one).charge(await Terminal(one).read(chip.tap()), invoice_of(node, 1_000))
        await ended(one, card)
        async with asyncio.timeout(40):
            while b'"balance": "8,998.500"' not in await stream.content.readuntil(b"\n\n"):
                pass
    _, state = await two.get(f"/flashcards/{card['id']}/state")
    assert [(entry["sign"], entry["amount"]) for entry in state["history"]] == [
        ("\u2212", "1,001.500"),
        ("+", "10,000"),
    ]
    _, html = await two.get(f"/flashcards/{card['id']}")
    assert '<span class="sum out">\u22121,001.500</span>' in html


async def test_without_a_key(hosts: HostBench, node: FakeNode) -> None:
    """Without FLASHCARD_KEY cards are topped up as ever, and what needs it names it; another key opens no chip."""
    host = await hosts.host(node)
    card = await make_card(host)
    for path in ("/programming", "/wipe"):
        status, told = await host.request(
            "POST", f"/api/v1/stores/shop/flashcards/{card['id']}{path}", json={}, headers=KEY
        )
        assert (status, "FLASHCARD_KEY" in told["message"]) == (400, True)
    await host.stop()
    host = await start(hosts, node)
    chip = await write_card(host, card)
    await host.stop()
    host = await hosts.host(node, flashcard_key="another-key-than-before")
    assert "can't be read right now" in (await Terminal(host).read(chip.tap()))["reason"]


async def test_a_wallet_that_pays_what_it_denied(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was paid after its reservation was given back is an error in the log: the store bears it."""
    released = asyncio.Event()
    real = FakeClient.pay

    async def pay(self: FakeClient, *arguments: Any) -> PayResponse:
        await released.wait()
        return await real(self, *arguments)

    monkeypatch.setattr(FakeClient, "pay", pay)
    host = await start(hosts, node)
    card, chip = await funded_card(host, node, 10_000)
    terminal = Terminal(host)
    offer = await terminal.read(chip.tap())
    await host.get(offer["callback"].removeprefix(host.url), params={"k1": offer["k1"], "pr": invoice_of(node, 1_000)})
    database = await Database.open(hosts.secret())
    over = text("UPDATE host_flashcard_taps SET look_at = 0, sender_until = 1")  # as if two minutes had passed
    await database.write(lambda connection: connection.execute(over))
    await database.aclose()
    await ended(host, card)
    released.set()
    await eventually(lambda: asyncio.sleep(0, "had its money back" in caplog.text))
    assert await payments(host, card) == [("failed", None)]
    assert await balance(host, card) == 10_000_000
