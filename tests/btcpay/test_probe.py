"""BTCPay's Lightning library, operation by operation and outcome by outcome, against the host."""

from __future__ import annotations

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

LIFE = ("--invoice-expiry-seconds", "15")
"""Long enough for a payment, short enough for an outage that outlives the BOLT11."""


@pytest.fixture(scope="module")
def shop(btcpay: BtcPay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Give a host on a sandbox."""
    with open_shop(btcpay, tmp_path_factory.mktemp("shop"), *LIFE, "--rate-limit", "off") as opened:
        yield opened


@pytest.fixture(scope="module")
def probe(btcpay: BtcPay, shop: Shop) -> Iterator[Probe]:
    """Give the library, connected to the host."""
    with Probe(btcpay, f"type=phoenixd;server={shop.host.url}/;password={PASSWORD}") as started:
        yield started


def test_wallet_is_told(probe: Probe) -> None:
    """Information and balance are read."""
    assert probe.ok("info") is not None
    assert probe.ok("balance")


def test_invoice_is_made_heard_and_read(shop: Shop, probe: Probe) -> None:
    """An invoice of the library is unpaid, heard once it is paid, and paid when it is read again."""
    probe.ok("listen", name="till")
    made = probe.ok("create", msat=21_000_000, desc="coffee", expiry=600)
    assert probe.ok("get", id=made["id"])["status"] == "Unpaid"
    shop.pay(made["bolt11"])
    heard = probe.ok("heard", name="till", count=1, **{"for": 20})
    assert [each["id"] for each in heard] == [made["id"]]
    assert probe.ok("get", id=made["id"])["status"] == "Paid"
    probe.ok("hangup", name="till")


def test_unknown_invoice_is_none(probe: Probe) -> None:
    """An invoice that this host never made is null."""
    assert probe.ok("get", id="00" * 32) is None


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (None, "Ok"),
        ("FAILURE", "CouldNotFindRoute"),
        ("INSUFFICIENT_BALANCE", "CouldNotFindRoute"),
        ("PENDING", "Unknown"),
    ],
)
def test_each_outcome_of_a_payment(shop: Shop, probe: Probe, outcome: str | None, result: str) -> None:
    """What Flash tells arrives as the library's own result."""
    if outcome is not None:
        shop.fault("payment", outcome=outcome)
    bolt11, _ = shop.foreign()
    assert probe.ok("pay", bolt11=bolt11)["result"] == result


def test_payment_is_read_again(shop: Shop, probe: Probe) -> None:
    """A payment that went out is Complete; one that never was is none."""
    bolt11, payment_hash = shop.foreign()
    assert probe.ok("pay", bolt11=bolt11)["result"] == "Ok"
    assert probe.ok("get_payment", id=payment_hash)["status"] == "Complete"
    assert probe.ok("get_payment", id="00" * 32) is None


def test_outage_is_no_answer(shop: Shop, probe: Probe) -> None:
    """An invoice whose BOLT11 is over while the host can't ask Flash: an error that BTCPay asks again after."""
    made = probe.ok("create", msat=21_000_000, desc="coffee", expiry=1)
    with shop.flash_frozen():
        wait_until(lambda: "error" in probe.ask("get", id=made["id"]), "the BOLT11 is over")
        assert probe.ask("get", id=made["id"])["error"] == "HttpRequestException"
