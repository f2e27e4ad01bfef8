"""BTCPay's Lightning library, operation by operation and outcome by outcome, against the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.btcpay.probe import Probe
from tests.btcpay.shop import open_shop
from tests.lightning_host.hosts import PASSWORD
from tests.lightning_host.programs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.btcpay.kit import BtcPay
    from tests.btcpay.shop import Shop

pytestmark = pytest.mark.timeout(300)

CUSTODIAN_SECONDS = 22
"""How long a slow payment takes: the library waits for 30 s, of which a busy machine may need some."""

NO_ROUTE = "payment could not be sent through existing channels, check individual failures for more details"
NO_FUNDS = "not enough funds in wallet to afford payment"


@dataclass(frozen=True)
class Bench:
    """The library, connected to a host on a sandbox; two payments that take half a minute are under way meanwhile.

    Attributes:
        slow: The number of a payment that the custodian carries out within the library's patience, and its hash.
        stuck: The same of one that stays pending.

    """

    shop: Shop
    probe: Probe
    slow: tuple[int, str]
    stuck: tuple[int, str]

    def invoice(self, msat: int = 21_000_000, **more: object) -> dict[str, str]:
        """Make an invoice."""
        made: dict[str, str] = self.probe.ok("create", **{"msat": msat, "desc": "coffee", "expiry": 600, **more})
        return made


@pytest.fixture(scope="module")
def bench(btcpay: BtcPay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Give the library and its host; in the end nothing was paid twice."""
    with open_shop(btcpay, tmp_path_factory.mktemp("shop"), "--rate-limit", "off") as shop:
        string = f"type=phoenixd;server={shop.host.url}/;password={PASSWORD}"
        with Probe(btcpay, string) as probe:
            slow = _begin(shop, probe, outcome="SUCCESS", executed=True, seconds=CUSTODIAN_SECONDS)
            stuck = _begin(shop, probe, outcome="PENDING")
            yield Bench(shop, probe, slow, stuck)
        assert all(each["times_executed"] <= 1 for each in shop.ledger()["payments"])


def _begin(shop: Shop, probe: Probe, **fault: object) -> tuple[int, str]:
    """Begin a payment that ends as the fault has it; gives its number and payment hash, once the server has it."""
    shop.fault("payment", **fault)
    bolt11, payment_hash = shop.foreign()
    number = probe.begin("pay", bolt11=bolt11)
    wait_until(lambda: not shop.ledger()["faults_armed"], "the payment has reached the server")
    return number, payment_hash


def test_wallet_is_told(bench: Bench) -> None:
    """Information and balance are read, in the library's own words for a phoenixd."""
    assert bench.probe.ok("info")["active"] == 1
    assert bench.probe.ok("balance")["local"] > 0
    assert bench.probe.ok("type") == "PhoenixdLightningClient"
    assert bench.probe.ok("tostring").startswith(f"type=phoenixd;server={bench.shop.host.url}")


@pytest.mark.parametrize("operation", ["cancel", "channels", "address"])
def test_what_a_phoenixd_does_not_do(bench: Bench, operation: str) -> None:
    """The library itself refuses what phoenixd has no call for."""
    assert bench.probe.ask(operation, id="00" * 32)["error"] == "NotSupportedException"


def test_invoice_is_made_heard_and_read(bench: Bench) -> None:
    """An invoice of the library is unpaid, heard once it is paid, and paid when it is read again or listed."""
    probe = bench.probe
    probe.ok("listen", name="till")
    made = bench.invoice()
    assert probe.ok("get", id=made["id"])["status"] == "Unpaid"
    assert made["id"] in [each["id"] for each in probe.ok("list", pending=True)]
    bench.shop.pay(made["bolt11"])
    heard = probe.ok("heard", name="till", count=1, **{"for": 40})
    assert [each["id"] for each in heard] == [made["id"]]
    for read in (probe.ok("get", id=made["id"]), probe.ok("get_hash", id=made["hash"])):
        assert (read["status"], read["received_msat"]) == ("Paid", 21_000_000)
    probe.ok("hangup", name="till")


def test_every_kind_of_invoice(bench: Bench) -> None:
    """By the short form, without an amount, with the hash of a description, with one that is too long for a BOLT11."""
    short = bench.probe.ok("create3", msat=5_000_000, desc="coffee", expiry=600)
    listed = [bench.invoice(0), bench.invoice(hash=True), bench.invoice(desc="word " * 200), short]
    assert [int(each["amount_msat"]) for each in listed] == [0, 21_000_000, 21_000_000, 5_000_000]
    assert {each["id"] for each in listed} <= {each["id"] for each in bench.probe.ok("list")}


def test_unknown_invoice_is_none(bench: Bench) -> None:
    """An invoice that this host never made is null."""
    assert bench.probe.ok("get", id="00" * 32) is None


@pytest.mark.parametrize(
    ("outcome", "result", "words"),
    [
        (None, "Ok", None),
        ("FAILURE", "CouldNotFindRoute", NO_ROUTE),
        ("INSUFFICIENT_BALANCE", "CouldNotFindRoute", NO_FUNDS),
    ],
)
def test_each_outcome_of_a_payment(bench: Bench, outcome: str | None, result: str, words: str | None) -> None:
    """What Flash tells arrives as the library's own result; what was not sent is no payment afterwards."""
    if outcome is not None:
        bench.shop.fault("payment", outcome=outcome)
    bolt11, payment_hash = bench.shop.foreign()
    paid = bench.probe.ok("pay", bolt11=bolt11)
    assert (paid["result"], paid["error"]) == (result, words)
    read = bench.probe.ok("get_payment", id=payment_hash)
    assert (None if read is None else read["status"]) in (("Complete",) if result == "Ok" else (None, "Unknown"))


def test_what_can_not_be_paid_is_not_sent(bench: Bench) -> None:
    """More than there is, an expired BOLT11 and none at all are refused before anything is sent."""
    shop, probe = bench.shop, bench.probe
    assert probe.ok("pay", bolt11=shop.foreign(500_000_000)[0])["error"] == NO_FUNDS
    expired = shop.sandbox("foreign_invoice", msat=1_000, expiry_seconds=1)["payment_request"]
    wait_until(lambda: shop.is_over(expired), "the BOLT11 is over")
    assert probe.ok("pay", bolt11=expired)["result"] == "CouldNotFindRoute"
    assert probe.ask("pay", bolt11="nonsense")["error"] == "PhoenixdApiException"


def test_amount_is_the_callers(bench: Bench) -> None:
    """A BOLT11 without an amount is paid with the caller's."""
    asked = bench.shop.sandbox("foreign_invoice", expiry_seconds=3600)
    assert bench.probe.ok("pay", bolt11=asked["payment_request"], msat=5_000_000)["result"] == "Ok"
    assert bench.probe.ok("get_payment", id=asked["payment_hash"])["status"] == "Complete"


def test_payment_is_listed_and_asked_for_again(bench: Bench) -> None:
    """A payment that went out is listed; paying it again is told as paid, and sends nothing."""
    bolt11, payment_hash = bench.shop.foreign()
    assert [bench.probe.ok("pay", bolt11=bolt11)["result"] for _ in range(2)] == ["Ok", "Ok"]
    assert payment_hash in [each["id"] for each in bench.probe.ok("list_payments")]
    assert bench.probe.ok("get_payment", id="00" * 32) is None


def test_slow_payment_is_waited_for(bench: Bench) -> None:
    """A custodian that takes nearly as long as the library waits: the payment is told as what it is."""
    number, payment_hash = bench.slow
    assert bench.probe.answer(number)["ok"]["result"] == "Ok"
    assert bench.probe.ok("get_payment", id=payment_hash)["status"] == "Complete"


def test_pending_payment_is_not_known(bench: Bench) -> None:
    """A payment whose end Flash does not know is Unknown, and listed as one that may have gone out."""
    number, payment_hash = bench.stuck
    assert bench.probe.answer(number)["ok"]["result"] == "Unknown"
    assert bench.probe.ok("get_payment", id=payment_hash)["status"] == "Unknown"
    assert payment_hash in [each["id"] for each in bench.probe.ok("list_payments", pending=True)]
