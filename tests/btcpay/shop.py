"""A shop: BTCPay's store, the host behind it, and the sandbox in Flash's place, joined by settings alone."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bolt11 import decode
from prometheus_client.parser import text_string_to_metric_families

from tests.btcpay.proxies import replicas_behind_proxy
from tests.lightning_host.hosts import PASSWORD
from tests.lightning_host.programs import host_program, sandbox_process, wait_until
from tests.support import asking

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.btcpay.kit import BtcPay
    from tests.lightning_host.programs import Program

__all__ = ["Payout", "Sale", "Shop", "open_shop", "wait_until_healthy"]

_OK: Final = 200
_SETTLED_SECONDS: Final = 90.0
_BOOKED_SECONDS: Final = 150.0
_NUDGE_SECONDS: Final = 3.0
_SAT_PER_BTC: Final = 100_000_000
_MSAT_PER_SAT: Final = 1_000
_MSAT_PER_BTC: Final = 100_000_000_000


@dataclass(frozen=True)
class Sale:
    """An invoice of BTCPay.

    Attributes:
        invoice: Its id at BTCPay.
        bolt11: What the customer pays.
        checkout: The address of BTCPay's page.

    """

    invoice: str
    bolt11: str
    checkout: str


@dataclass(frozen=True)
class Payout:
    """A payout of BTCPay to somebody's BOLT11."""

    id: str
    bolt11: str
    payment_hash: str


@dataclass
class Shop:
    """A store, its hosts and its sandbox."""

    btcpay: BtcPay
    store: str
    control: str
    hosts: list[Program]
    flash: subprocess.Popen[bytes] | None = None
    paid_directly: set[str] = field(default_factory=set)

    @property
    def host(self) -> Program:
        """The first host."""
        return self.hosts[0]

    # --- selling ----------------------------------------------------------------------------------------------------

    def sell(
        self, amount: str | None = "1000", currency: str = "SATS", *, method: str = "BTC-LN", tries: int = 1
    ) -> Sale:
        """Make an invoice at BTCPay; without an amount the customer chooses it.

        A server that takes nearly as long as BTCPay waits takes longer on a busy machine; then it is tried again.
        """
        body = {"amount": amount, "currency": currency}
        for _ in range(tries):
            status, made = self.btcpay.ask("POST", f"/stores/{self.store}/invoices", body)
            if status == _OK:
                break
        assert status == _OK, made
        listed = self.btcpay.call("GET", f"/stores/{self.store}/invoices/{made['id']}/payment-methods")
        (prompt,) = [each for each in listed if each["paymentMethodId"] == method]
        return Sale(made["id"], str(prompt.get("destination")), made["checkoutLink"])

    def try_to_sell(self) -> tuple[int, Any]:
        """Ask BTCPay for an invoice; gives status and JSON."""
        return self.btcpay.ask("POST", f"/stores/{self.store}/invoices", {"amount": "1000", "currency": "SATS"})

    def pay_by_lnurl(self, sale: Sale) -> None:
        """Pay a sale as a wallet does that has scanned its LNURL."""
        link = asking.get(f"{self.btcpay.url}/BTC/UILNURL/pay/i/{sale.invoice}", timeout=20).json()
        asked = asking.get(link["callback"], params={"amount": link["minSendable"]}, timeout=20).json()
        self.pay(asked["pr"])

    def pay(self, bolt11: str, **more: Any) -> None:
        """Pay a BOLT11 of this shop from outside."""
        self.sandbox("pay", payment_request=bolt11, **more)

    def pay_to_address(self, name: str, msat: int) -> None:
        """Give the store a Lightning address, and pay to it."""
        self.btcpay.call("POST", f"/stores/{self.store}/lightning-addresses/{name}", {})
        offer = asking.get(f"{self.btcpay.url}/.well-known/lnurlp/{name}", timeout=20).json()
        asked = asking.get(offer["callback"], params={"amount": msat}, timeout=20).json()
        self.pay(asked["pr"])

    @staticmethod
    def is_over(bolt11: str) -> bool:
        """Whether a BOLT11 is over by its own expiry."""
        request = decode(bolt11)
        return time.time() >= request.date + (request.expiry or 3600)

    def settled(self) -> set[str]:
        """Return the ids of all sales that BTCPay calls Settled."""
        listed = self.btcpay.call("GET", f"/stores/{self.store}/invoices?status=Settled&take=500")
        return {each["id"] for each in listed}

    def status(self, sale: Sale) -> str:
        """Return what BTCPay calls the sale."""
        return str(self.btcpay.call("GET", f"/stores/{self.store}/invoices/{sale.invoice}")["status"])

    def wait_settled(self, *sales: Sale, meanwhile: Callable[[], object] | None = None) -> float:
        """Wait until BTCPay calls all of them Settled, doing something again and again meanwhile; gives the seconds."""
        start, waiting = time.monotonic(), {sale.invoice for sale in sales}
        nudged = start
        while waiting:
            waiting -= self.settled()
            if waiting and time.monotonic() - nudged > _NUDGE_SECONDS:
                nudged = time.monotonic()
                self.nudge()
            if waiting and time.monotonic() - start > _SETTLED_SECONDS:
                raise AssertionError(f"{len(waiting)} of {len(sales)} paid sales are not settled")
            if meanwhile is not None:
                meanwhile()
            time.sleep(0.05)
        return time.monotonic() - start

    def nudge(self) -> None:
        """Have BTCPay look after its connections now, which else it does once a minute: it does so at each new invoice.

        This one gets no BOLT11, since nobody opens its page.
        """
        body = {"amount": "1", "currency": "SATS", "checkout": {"lazyPaymentMethods": True}}
        self.btcpay.call("POST", f"/stores/{self.store}/invoices", body)

    # --- paying out -------------------------------------------------------------------------------------------------

    def foreign(self, sat: int = 1_000, **more: Any) -> tuple[str, str]:
        """Make somebody's BOLT11, good for 40 days; gives it and its payment hash."""
        made = self.sandbox("foreign_invoice", msat=sat * 1_000, expiry_seconds=40 * 24 * 3600, **more)
        return made["payment_request"], made["payment_hash"]

    def pay_out(self, bolt11: str, payment_hash: str, sat: int = 1_000) -> Payout:
        """Have BTCPay pay somebody's BOLT11: a payout that is approved and left to the automated processor."""
        body = {
            "destination": bolt11,
            "amount": _btc(sat),
            "payoutMethodId": "BTC-LN",
            "approved": True,
        }
        made = self.btcpay.call("POST", f"/stores/{self.store}/payouts", body)
        return Payout(made["id"], bolt11, payment_hash)

    def pay_directly(self, bolt11: str) -> tuple[int, Any]:
        """Have BTCPay pay without a payout, as its plugins do; gives status and JSON."""
        self.paid_directly.add(bolt11)
        return self.btcpay.ask("POST", f"/stores/{self.store}/lightning/BTC/invoices/pay", {"BOLT11": bolt11})

    def automate_payouts(self) -> None:
        """Have BTCPay send payouts by itself, at once."""
        body = {"intervalSeconds": 60, "processNewPayoutsInstantly": True}
        self.btcpay.call(
            "PUT", f"/stores/{self.store}/payout-processors/LightningAutomatedPayoutSenderFactory/BTC-LN", body
        )

    def payout_state(self, payout: Payout) -> str:
        """Return what BTCPay calls the payout."""
        return str(self.btcpay.call("GET", f"/stores/{self.store}/payouts/{payout.id}")["state"])

    def pull_payment(self, sat: int) -> str:
        """Offer somebody money, to be taken by LNURL-withdraw or by a claim; gives its id."""
        offer = {"name": "Cash out", "amount": _btc(sat), "currency": "BTC", "payoutMethods": ["BTC-LN"]}
        made = self.btcpay.call("POST", f"/stores/{self.store}/pull-payments", {**offer, "autoApproveClaims": True})
        return str(made["id"])

    def refund(self, sale: Sale) -> str:
        """Offer a customer what a sale brought; gives the id of the pull payment."""
        body = {"payoutMethodId": "BTC-LN", "refundVariant": "CurrentRate"}
        made = self.btcpay.call("POST", f"/stores/{self.store}/invoices/{sale.invoice}/refund", body)
        return str(made["id"])

    def claim(self, pull_payment: str, bolt11: str, payment_hash: str) -> Payout:
        """Have a pull payment paid to a BOLT11."""
        body = {"destination": bolt11, "payoutMethodId": "BTC-LN"}
        made = self.btcpay.call("POST", f"/pull-payments/{pull_payment}/payouts", body)
        return Payout(made["id"], bolt11, payment_hash)

    def withdraw_by_lnurl(self, pull_payment: str, bolt11: str) -> dict[str, Any]:
        """Take a pull payment as a wallet does that has scanned its LNURL; gives what the wallet is told."""
        url = f"{self.btcpay.url}/BTC/UILNURL/withdraw/pp/{pull_payment}"
        offer = asking.get(url, timeout=20).json()
        told = asking.get(offer["callback"], params={"k1": offer["k1"], "pr": bolt11}, timeout=60)
        answer: dict[str, Any] = told.json()
        return answer

    def paid_out(self) -> list[str]:
        """Return the BOLT11s of all payouts that BTCPay calls Completed."""
        listed = self.btcpay.call("GET", f"/stores/{self.store}/payouts?includeCancelled=true")
        return [each["destination"] for each in listed if each["state"] == "Completed"]

    # --- the host ---------------------------------------------------------------------------------------------------

    def metric(self, name: str, *, at: int = 0, **labels: str) -> float:
        """Return a metric of one host; zero while it has not been counted yet."""
        told = asking.get(f"{self.hosts[at].url}/metrics", timeout=20).text
        for family in text_string_to_metric_families(told):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return 0.0

    # --- the sandbox ------------------------------------------------------------------------------------------------

    def sandbox(self, action: str, **body: Any) -> Any:
        """Order the sandbox about."""
        answer = asking.post(f"{self.control}/{action}", json=body, timeout=20)
        assert answer.is_success, answer.text
        return answer.json()

    def fault(self, kind: str, **more: Any) -> None:
        """Arm a fault of the sandbox."""
        self.sandbox("fault", kind=kind, **more)

    def no_faults(self) -> None:
        """Disarm all faults."""
        asking.delete(f"{self.control}/fault", timeout=20).raise_for_status()

    def ledger(self) -> dict[str, Any]:
        """Return what the sandbox knows."""
        answered: dict[str, Any] = asking.get(f"{self.control}/ledger", timeout=20).json()
        return answered

    def operations(self) -> dict[str, int]:
        """Return how often each operation reached the sandbox."""
        return {name: sum(by.values()) for name, by in self.ledger()["operations"].items()}

    @contextmanager
    def flash_frozen(self) -> Iterator[None]:
        """Let Flash answer nothing at all while the block runs."""
        assert self.flash is not None
        os.kill(self.flash.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.flash.pid, signal.SIGCONT)

    # --- the end ----------------------------------------------------------------------------------------------------

    def assert_ledgers_agree(self) -> None:
        """Compare BTCPay's books with the sandbox's: nothing lost, nothing told twice, nothing paid twice."""
        differences = self.wait_for_agreement()
        assert not differences, differences

    def wait_for_agreement(self, seconds: float = _BOOKED_SECONDS) -> list[str]:
        """Compare the books until they agree; gives what they do not agree on in the end, in words.

        BTCPay may be about to book what has just been paid, or to try a payout again.
        """
        deadline = time.monotonic() + seconds
        while (differences := self._differences()) and time.monotonic() < deadline:
            self.nudge()
            time.sleep(1)
        return differences

    def _differences(self) -> list[str]:
        """Return what the two books do not agree on, in words."""
        ledger = self.ledger()
        received = {
            each["payment_hash"]: each["msat_received"] for each in ledger["invoices"] if each["status"] == "PAID"
        }
        booked = self._booked()
        sent = Counter({each["payment_request"]: each["times_executed"] for each in ledger["payments"]})
        completed = Counter([*self.paid_out(), *self.paid_directly])
        return [
            *(f"{each} is not booked" for each in received.keys() - booked.keys()),
            *(f"{each} is booked and was not paid" for each in booked.keys() - received.keys()),
            *(f"{each} is booked {len(values)} times" for each, values in booked.items() if len(values) > 1),
            # BTCPay books whole satoshi of some invoices.
            *(
                f"{each} is booked with another amount"
                for each in booked.keys() & received.keys()
                if abs(booked[each][0] - received[each]) >= _MSAT_PER_SAT
            ),
            *(f"{each} was paid {times} times" for each, times in sent.items() if times > 1),
            *(f"{each} was paid and is not completed" for each in (+sent - completed)),
            *(f"{each} is completed and was not paid" for each in (completed - sent)),
        ]

    def _booked(self) -> dict[str, list[int]]:
        """Return what BTCPay booked for each payment hash, in millisatoshi."""
        booked: dict[str, list[int]] = {}
        for invoice in self.btcpay.call("GET", f"/stores/{self.store}/invoices?take=500"):
            if invoice["paidAmount"] == "0":
                continue
            for method in self.btcpay.call("GET", f"/stores/{self.store}/invoices/{invoice['id']}/payment-methods"):
                for payment in method["payments"]:
                    booked.setdefault(payment["id"], []).append(int(Decimal(payment["value"]) * _MSAT_PER_BTC))
        return booked


@contextmanager
def open_shop(
    btcpay: BtcPay,
    folder: Path,
    *sandbox: str,
    lnurl: bool = False,
    databases: Sequence[str] = (),
    **settings: str,
) -> Iterator[Shop]:
    """Start a sandbox and a host, and make a store at BTCPay; `sandbox` and `settings` go to the first two.

    With the sandbox's `--rate-limit off` the driver keeps no budget of invoices either.

    Args:
        btcpay: Where the store is made.
        folder: Where the programs keep what they write.
        sandbox: Options of the sandbox.
        lnurl: Whether the store sells by LNURL as well.
        databases: Where the hosts keep everything, instead of SQLite. For two of them there are two hosts, behind the
            proxy that docker/btcpay.yaml has.
        settings: Further variables of the hosts' environment.

    """
    if "off" in sandbox:
        settings = {"FLASH_INVOICE_BUDGET": "off", **settings}
    settings["LIGHTNING_HOST_PHOENIXD_PASSWORD"] = PASSWORD
    with ExitStack() as stack:
        flash, ready = stack.enter_context(sandbox_process(folder, *sandbox))
        hosts = []
        for shared in [_database(url) for url in databases] or [{}]:
            program = host_program(folder, ready["connection_string"], **shared, **settings)
            # `/live` answers as soon as it serves, also while Flash is away.
            hosts.append(replace(program, ready=f"{program.url}/live"))
        for host in hosts:
            stack.enter_context(host.running())
            wait_until_healthy(host.url)
        front = hosts[0].url if len(hosts) == 1 else stack.enter_context(replicas_behind_proxy(folder, *hosts)).url
        store = btcpay.new_store(front, PASSWORD, lnurl=lnurl)
        yield Shop(btcpay, store, ready["control"], hosts, flash)


def wait_until_healthy(url: str) -> None:
    """Wait until a host hears of settlements."""
    wait_until(lambda: asking.get(f"{url}/health", timeout=20).status_code == 200, "the host hears")


def _btc(sat: int) -> str:
    return str(Decimal(sat) / _SAT_PER_BTC)


def _database(url: str) -> dict[str, str]:
    return {"LIGHTNING_HOST_DATABASE_URL": url, "FLASH_JOURNAL_URL": url}
