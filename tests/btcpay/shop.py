"""A shop: BTCPay's store, the host behind it, and the sandbox in Flash's place, joined by settings alone."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import httpx
from bolt11 import decode

from tests.btcpay.proxies import replicas_behind_proxy
from tests.lightning_host.hosts import PASSWORD
from tests.lightning_host.programs import host_program, sandbox_process, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.btcpay.kit import BtcPay
    from tests.lightning_host.programs import Program

__all__ = ["Payout", "Sale", "Shop", "open_shop", "wait_until_healthy"]

_SETTLED_SECONDS: Final = 90.0
_NUDGE_SECONDS: Final = 3.0
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

    def sell(self, amount: str | None = "1000", currency: str = "SATS", *, method: str = "BTC-LN") -> Sale:
        """Make an invoice at BTCPay; without an amount the customer chooses it."""
        body = {"amount": amount, "currency": currency}
        made = self.btcpay.call("POST", f"/stores/{self.store}/invoices", body)
        listed = self.btcpay.call("GET", f"/stores/{self.store}/invoices/{made['id']}/payment-methods")
        (prompt,) = [each for each in listed if each["paymentMethodId"] == method]
        return Sale(made["id"], str(prompt.get("destination")), made["checkoutLink"])

    def try_to_sell(self) -> tuple[int, Any]:
        """Ask BTCPay for an invoice; gives status and JSON."""
        return self.btcpay.ask("POST", f"/stores/{self.store}/invoices", {"amount": "1000", "currency": "SATS"})

    def pay_by_lnurl(self, sale: Sale) -> None:
        """Pay a sale as a wallet does that has scanned its LNURL."""
        link = httpx.get(f"{self.btcpay.url}/BTC/UILNURL/pay/i/{sale.invoice}", timeout=20).json()
        asked = httpx.get(link["callback"], params={"amount": link["minSendable"]}, timeout=20).json()
        self.pay(asked["pr"])

    def pay(self, bolt11: str, **more: Any) -> None:
        """Pay a BOLT11 of this shop from outside."""
        self.sandbox("pay", payment_request=bolt11, **more)

    @staticmethod
    def outlived(sale: Sale) -> bool:
        """Whether the sale's BOLT11 is over by its own expiry."""
        request = decode(sale.bolt11)
        return time.time() >= request.date + (request.expiry or 3600)

    def status(self, sale: Sale) -> str:
        """Return what BTCPay calls the sale."""
        return str(self.btcpay.call("GET", f"/stores/{self.store}/invoices/{sale.invoice}")["status"])

    def wait_settled(self, *sales: Sale, meanwhile: Callable[[], object] | None = None) -> float:
        """Wait until BTCPay calls all of them Settled, doing something again and again meanwhile; gives the seconds."""
        start, waiting = time.monotonic(), {sale.invoice for sale in sales}
        nudged = start
        while waiting:
            listed = self.btcpay.call("GET", f"/stores/{self.store}/invoices?status=Settled&take=500")
            waiting -= {each["id"] for each in listed}
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
            "amount": str(Decimal(sat) / 100_000_000),
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

    # --- the sandbox ------------------------------------------------------------------------------------------------

    def sandbox(self, action: str, **body: Any) -> Any:
        """Order the sandbox about."""
        answer = httpx.post(f"{self.control}/{action}", json=body, timeout=20)
        assert answer.is_success, answer.text
        return answer.json()

    def fault(self, kind: str, **more: Any) -> None:
        """Arm a fault of the sandbox."""
        self.sandbox("fault", kind=kind, **more)

    def no_faults(self) -> None:
        """Disarm all faults."""
        httpx.delete(f"{self.control}/fault", timeout=20).raise_for_status()

    def ledger(self) -> dict[str, Any]:
        """Return what the sandbox knows."""
        answered: dict[str, Any] = httpx.get(f"{self.control}/ledger", timeout=20).json()
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
        ledger = self.ledger()
        received = {
            each["payment_hash"]: each["msat_received"] for each in ledger["invoices"] if each["status"] == "PAID"
        }
        booked: dict[str, int] = {}
        for invoice in self.btcpay.call("GET", f"/stores/{self.store}/invoices?take=500"):
            for method in self.btcpay.call("GET", f"/stores/{self.store}/invoices/{invoice['id']}/payment-methods"):
                for payment in method["payments"]:
                    assert payment["id"] not in booked, f"{payment['id']} is booked twice"
                    booked[payment["id"]] = int(Decimal(payment["value"]) * _MSAT_PER_BTC)
        assert set(booked) == set(received), "sales"
        assert all(abs(booked[each] - received[each]) < 1_000 for each in booked), "in whole satoshi they are equal"
        assert all(each["times_executed"] <= 1 for each in ledger["payments"]), "something was paid twice"
        completed = [
            each["destination"]
            for each in self.btcpay.call("GET", f"/stores/{self.store}/payouts?includeCancelled=true")
            if each["state"] == "Completed"
        ]
        sent = [each["payment_request"] for each in ledger["payments"] if each["times_executed"]]
        assert sorted([*completed, *self.paid_directly]) == sorted(sent), "payouts"


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
    wait_until(lambda: httpx.get(f"{url}/health", timeout=20).status_code == 200, "the host hears")


def _database(url: str) -> dict[str, str]:
    return {"LIGHTNING_HOST_DATABASE_URL": url, "FLASH_JOURNAL_URL": url}
