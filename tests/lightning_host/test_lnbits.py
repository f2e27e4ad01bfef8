"""An unmodified LNbits on top of host, driver and sandbox: four programs, joined by configuration alone."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from bolt11 import decode

from tests.lightning_host.hosts import PASSWORD
from tests.lightning_host.lnbits import install_lnbits, lnbits_program
from tests.lightning_host.needs import need_lnurl
from tests.lightning_host.programs import host_program, sandbox_program, wait_until
from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bolt11 import Bolt11

    from tests.lightning_host.programs import Program

pytestmark = pytest.mark.timeout(600)  # the first run installs LNbits


@dataclass(frozen=True)
class Stage:
    """The four programs, and an account of LNbits."""

    control: str
    host: Program
    lnbits: str
    account: dict[str, Any]

    def ask(self, method: str, path: str, body: Any = None, *, key: str = "inkey") -> Any:
        """Call LNbits' REST API with a key of the account."""
        headers = {"X-Api-Key": self.account[key]}
        response = asking.request(method, f"{self.lnbits}{path}", json=body, headers=headers, timeout=40)
        assert response.is_success, response.text
        return response.json()

    def invoice(self, sat: int) -> dict[str, Any]:
        """Have LNbits make an invoice."""
        made: dict[str, Any] = self.ask(
            "POST", "/api/v1/payments", {"out": False, "amount": sat, "memo": "from LNbits"}
        )
        return made

    def pay(self, payment_request: str) -> None:
        """Pay an invoice in the sandbox, as somebody outside would."""
        asking.post(f"{self.control}/pay", json={"payment_request": payment_request}, timeout=40).raise_for_status()

    def wait_for_success(self, payment_hash: str) -> dict[str, Any]:
        """Wait until LNbits lists a payment as made; listing asks no backend, so its stream must have told it."""
        found: list[dict[str, Any]] = []

        def succeeded() -> bool:
            found[:] = [
                each
                for each in self.ask("GET", "/api/v1/payments?limit=20")
                if each["payment_hash"] == payment_hash and each["status"] == "success"
            ]
            return bool(found)

        wait_until(succeeded, "LNbits lists the payment as made")
        return found[0]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Start sandbox, host and LNbits, once for all tests of a server that drops description hashes, as Flash does."""
    with _stage(tmp_path_factory.mktemp("stage"), "drop") as opened:
        yield opened


@pytest.fixture
def honouring_stage(tmp_path: Path) -> Iterator[Stage]:
    """Start them once more, with a server that commits to description hashes."""
    with _stage(tmp_path, "honour") as opened:
        yield opened


@contextmanager
def _stage(folder: Path, description_hash: str) -> Iterator[Stage]:
    environment = install_lnbits()
    below = folder / "lnbits-runs-here"
    below.mkdir()
    with sandbox_program(folder, "--description-hash", description_hash) as ready:
        host = host_program(folder, ready["connection_string"], LIGHTNING_HOST_PHOENIXD_PASSWORD=PASSWORD)
        with host.running(), lnbits_program(environment, below, host.url, PASSWORD).running() as lnbits:
            account = asking.post(f"{lnbits.url}/api/v1/account", json={"name": "shop"}, timeout=30).json()
            yield Stage(ready["control"], host, lnbits.url, account)


def test_invoice_of_lnbits_is_paid(stage: Stage) -> None:
    """LNbits makes an invoice with our driver behind it, and hears of the payment through its stream."""
    made = stage.invoice(100_000)
    bolt11 = decode(made["bolt11"])
    assert bolt11.description == "from LNbits"
    ledger = asking.get(f"{stage.control}/ledger", timeout=40).json()
    assert bolt11.payment_hash in json.dumps(ledger["invoices"])
    stage.pay(made["bolt11"])
    assert stage.wait_for_success(made["payment_hash"])["amount"] == 100_000_000
    assert stage.ask("GET", "/api/v1/wallet")["balance"] == 100_000_000


def test_lnbits_pays_out(stage: Stage) -> None:
    """LNbits pays somebody's invoice through host and driver; the sandbox has paid it once."""
    funding = stage.invoice(50_000)
    stage.pay(funding["bolt11"])
    stage.wait_for_success(funding["payment_hash"])
    foreign = asking.post(f"{stage.control}/foreign_invoice", json={"msat": 5_000_000}, timeout=40).json()
    paying = {"out": True, "bolt11": foreign["payment_request"]}
    paid = stage.ask("POST", "/api/v1/payments", paying, key="adminkey")
    assert paid["payment_hash"] == foreign["payment_hash"]
    assert stage.wait_for_success(foreign["payment_hash"])["amount"] == -5_000_000
    (payment,) = asking.get(f"{stage.control}/ledger", timeout=40).json()["payments"]
    assert payment["times_executed"] == 1


def test_payment_while_the_host_is_down_is_not_lost(stage: Stage) -> None:
    """Paid while the host restarts: the driver catches up, and LNbits' stream is told once it is connected again."""
    made = stage.invoice(1_000)
    stage.host.stop()
    stage.pay(made["bolt11"])
    stage.host.start()
    assert stage.wait_for_success(made["payment_hash"])["amount"] == 1_000_000


async def test_lightning_address_of_lnbits_is_paid(stage: Stage) -> None:
    """A wallet library pays LNbits' own Lightning address: an exact amount, and a text where the hash was dropped."""
    bolt11, _ = await _pay_lightning_address(stage)
    assert (bolt11.description, bolt11.description_hash) == ("shop", None)


async def test_lightning_address_of_lnbits_commits_to_its_metadata(honouring_stage: Stage) -> None:
    """LNbits hands over the hash of its own metadata, without the text: the invoice carries that very hash."""
    bolt11, of_metadata = await _pay_lightning_address(honouring_stage)
    assert (bolt11.description, bolt11.description_hash) == (None, of_metadata)


async def _pay_lightning_address(stage: Stage) -> tuple[Bolt11, str]:
    """Pay the Lightning address of the account with a wallet library, and see LNbits hear of it.

    Gives the invoice and the hash of the address's metadata.
    """
    lnurl = need_lnurl()
    name = stage.account["lightning_address"].partition("@")[0]
    link = await lnurl.handle(str(lnurl.encode(f"{stage.lnbits}/.well-known/lnurlp/{name}").bech32))
    paying = await lnurl.execute_pay_request(link, 21_000_000)
    bolt11 = decode(str(paying.pr))
    assert bolt11.amount_msat == 21_000_000
    stage.pay(str(paying.pr))
    assert stage.wait_for_success(bolt11.payment_hash)["amount"] == 21_000_000
    return bolt11, link.metadata.h
