"""Tap to pay in front of the sandbox: a terminal that nobody here wrote, and two ledgers that agree to the msat."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from tests.lightning_host.hosts import API_KEY, eventually
from tests.lightning_host.programs import host_program, sandbox_program, wait_until
from tests.support import asking
from tests.support.payments import executed
from tests.support.software_card import SoftwareCard
from tests.support.terminals import CARDS, FLASHCARD_KEY, Terminal, balance, card_api, funded_card, top_up

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.sandbox import Sandbox
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench
    from tests.support.postgres import PostgresServer

lnurl: Any = pytest.importorskip("lnurl", reason="lnurl has no release for this Python")


async def pay_at_terminal(chip: SoftwareCard, bolt11: str) -> None:
    """Tap a card at a terminal made of the PyPI package `lnurl`, which follows LUD-17, LUD-03 and LUD-19."""
    offer = await lnurl.handle(chip.tap(), timeout=40)
    assert offer.payLink.startswith("lnurlp://")
    assert (await lnurl.execute_withdraw(offer, bolt11, timeout=40)).ok


async def ledgers_agree(host: RunningHost, sandbox: Sandbox, card: dict[str, Any], came_msat: int) -> None:
    """Wait until nothing is open; then the card has paid what has left, and has what is left."""

    async def none_open() -> bool:
        return all(each["status"] != "paying" for each in await card_api(host, card, "GET", "/payments"))

    await eventually(none_open)
    paid = [each for each in await card_api(host, card, "GET", "/payments") if each["status"] == "paid"]
    left = [row for row in sandbox.ledger_snapshot()["payments"] if row["times_executed"]]
    assert {each["paymentHash"]: int(each["charged"]) for each in paid} == {
        row["payment_hash"]: row["msat"] for row in left
    }
    assert set(executed(sandbox)) <= {0, 1}
    assert await balance(host, card) == came_msat - sum(row["msat"] for row in left)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_terminal_of_another_maker(
    hosts: HostBench, bench: Bench, kind: str, request: pytest.FixtureRequest
) -> None:
    """Taps, a top-up meanwhile and a failure: card and sandbox have the same ledger."""
    sandbox = await bench.sandbox()
    database = hosts.sqlite() if kind == "sqlite" else request.getfixturevalue("postgres").new_database()
    host = await hosts.host(sandbox, flashcard_key=FLASHCARD_KEY, database=database)
    card, chip = await funded_card(host, sandbox, 50_000)
    await pay_at_terminal(chip, sandbox.foreign_invoice(5_000_000).payment_request)
    await top_up(host, sandbox, card, 3_000)
    sandbox.arm("payment", outcome="FAILURE")
    failing = sandbox.foreign_invoice(7_000_000).payment_request
    offer = await Terminal(host).read(chip.tap())
    await Terminal(host).charge(offer, failing)
    await pay_at_terminal(chip, sandbox.foreign_invoice(1_234_000).payment_request)
    came = sum(int(each["amount"]) for each in await card_api(host, card, "GET", "/history"))
    await ledgers_agree(host, sandbox, card, came)
    assert sorted(executed(sandbox)) == [0, 1, 1]
    assert "nothing was taken" in (await Terminal(host).charge(offer, failing))["reason"]


async def test_a_server_that_pays_nothing(hosts: HostBench, bench: Bench) -> None:
    """Where the token opens the socket only the wallet can't pay: the terminal is told, and the card keeps all."""
    sandbox = await bench.sandbox(ws_mutations="decline", http_bearer="reject")
    host = await hosts.host(sandbox, flashcard_key=FLASHCARD_KEY)
    card, chip = await funded_card(host, sandbox, 50_000)
    came = await balance(host, card)
    terminal, pr = Terminal(host), sandbox.foreign_invoice(5_000_000).payment_request
    offer = await terminal.read(chip.tap())

    async def told() -> bool:
        answer = await terminal.charge(offer, pr)
        return answer == {"status": "ERROR", "reason": answer.get("reason")} and "nothing was taken" in answer["reason"]

    await eventually(told)
    assert (await balance(host, card), sandbox.ledger_snapshot()["payments"]) == (came, [])


@pytest.mark.timeout(500)  # a sandbox and a host as programs, the latter started twice
def test_a_host_killed_before_it_books(postgres: PostgresServer, tmp_path: Path) -> None:
    """The money has left, and the host dies before it has booked that: the next one books it, once."""
    database, key = postgres.new_database(), {"Authorization": f"token {API_KEY}"}
    settings = {
        "LIGHTNING_HOST_DATABASE_URL": database,
        "LIGHTNING_HOST_API_KEY": API_KEY,
        "LIGHTNING_HOST_FLASHCARD_KEY": FLASHCARD_KEY,
    }
    with (
        sandbox_program(tmp_path) as ready,
        httpx.Client(timeout=60, verify=asking.PLAIN) as client,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        host = host_program(tmp_path, ready["connection_string"], **settings)

        def ask(method: str, path: str, body: Any = None) -> Any:
            return client.request(method, f"{host.url}{CARDS}{path}", json=body, headers=key).raise_for_status().json()

        with host.running():
            card = ask("POST", "", {"name": "Ada"})["id"]
            checkout = ask("POST", f"/{card}/topups", {"amount": "50000000"})
            client.post(f"{ready['control']}/pay", json={"payment_request": checkout["BOLT11"]}).raise_for_status()
            wait_until(lambda: int(ask("GET", f"/{card}")["balance"]) >= 50_000_000, "the card is topped up")
            came = int(ask("GET", f"/{card}")["balance"])
            keys = client.get(ask("POST", f"/{card}/programming", {})["url"]).raise_for_status().json()
            chip = SoftwareCard(keys["lnurlw_base"], bytes.fromhex(keys["k1"]), bytes.fromhex(keys["k2"]))
            offer = client.get(chip.tap().replace("lnurlw:", "http:")).json()
            client.post(f"{ready['control']}/fault", json={"kind": "payment", "outcome": "SUCCESS", "seconds": 6})
            pr = client.post(f"{ready['control']}/foreign_invoice", json={"msat": 5_000_000}).json()
            params = {"k1": offer["k1"], "pr": pr["payment_request"]}
            terminal = pool.submit(httpx.get, offer["callback"], params=params, timeout=60)
            wait_until(lambda: bool(ask("GET", f"/{card}/payments")), "the money is reserved")
            with psycopg.connect(database.replace("+asyncpg", "")) as blocking:
                blocking.execute("LOCK TABLE host_flashcards IN EXCLUSIVE MODE")

                def has_left() -> bool:
                    url = f"{host.url}/api/v1/stores/shop/lightning/BTC/payments/{pr['payment_hash']}"
                    answer = client.get(url, headers=key)
                    return answer.status_code == 200 and answer.json()["status"] == "Complete"

                wait_until(has_left, "the wallet knows that the money has left")
                (open_payment,) = ask("GET", f"/{card}/payments")
                assert terminal.result().json() == {"status": "OK"}
                host.kill()
            assert (open_payment["status"], open_payment["charged"]) == ("paying", None)
            host.start()
            wait_until(lambda: ask("GET", f"/{card}/payments")[0]["status"] != "paying", "the payment is settled")
            (booked,) = ask("GET", f"/{card}/payments")
            (left,) = client.get(f"{ready['control']}/ledger").json()["payments"]
            assert (booked["status"], booked["charged"]) == ("paid", str(left["msat"]))
            assert left["times_executed"] == 1
            assert int(ask("GET", f"/{card}")["balance"]) == came - left["msat"]
