"""The examples, run as they are: nothing that is paid is lost, whatever is restarted."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lightning_host.programs import Program, free_port, sandbox_program, wait_until
from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

ROOT = Path(__file__).parents[2]
SHOPS = ("aiohttp_shop", "fastapi_shop", "django_shop")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def flash(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a Flash server."""
    with sandbox_program(tmp_path) as said:
        yield said


def example(name: str, flash: dict[str, str], folder: Path, ready: str) -> Program:
    """Return an example as a program."""
    port = free_port()
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        "PORT": str(port),
        "FLASH_CONNECTION_STRING": flash["connection_string"],
        "FLASH_JOURNAL_URL": f"sqlite+aiosqlite:///{folder}/journal.sqlite3",
        "SHOP_DATABASE": str(folder / "shop.sqlite3"),
    }
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    return Program(command, environment, folder, f"http://127.0.0.1:{port}{ready}")


def shop(name: str, flash: dict[str, str], folder: Path) -> Program:
    """Return a shop as a program, with an order of its own to show that it is ready."""
    program = example(name, flash, folder, "/orders/ready")
    with sqlite3.connect(folder / "shop.sqlite3") as database:
        database.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, sat INTEGER NOT NULL, paid_by TEXT)")
        database.execute("INSERT OR IGNORE INTO orders VALUES ('ready', 1, 'paid')")
    return program


def order(program: Program, sat: object = 1000) -> httpx.Response:
    """Open an order."""
    return asking.post(f"{program.url}/orders", json={"sat": sat}, timeout=40)


def look(program: Program, order_id: str) -> Any:
    """Look at an order."""
    return asking.get(f"{program.url}/orders/{order_id}", timeout=40).raise_for_status().json()


def pay(flash: dict[str, str], bolt11: str) -> None:
    """Pay as a customer."""
    asking.post(f"{flash['control']}/pay", json={"payment_request": bolt11}, timeout=40).raise_for_status()


@pytest.mark.parametrize("name", SHOPS)
def test_an_order_is_paid(name: str, flash: dict[str, str], tmp_path: Path) -> None:
    """An order is opened, shown, paid and then told as paid; nonsense is refused."""
    with shop(name, flash, tmp_path).running() as running:
        order_id = order(running).json()["id"]
        shown = look(running, order_id)
        assert look(running, order_id) == shown
        pay(flash, shown["bolt11"])
        wait_until(lambda: look(running, order_id)["paid"], "the order is paid")
        assert asking.get(f"{running.url}/orders/none", timeout=40).status_code == 404
        assert order(running, "many").status_code in (400, 422)


def test_what_is_paid_while_the_shop_is_down_is_found(flash: dict[str, str], tmp_path: Path) -> None:
    """A shop that was killed finds what was paid meanwhile, once: the cursor is written with the order."""
    program = shop("aiohttp_shop", flash, tmp_path)
    with program.running():
        ids = [order(program).json()["id"] for _ in range(3)]
        bolt11s = [look(program, each)["bolt11"] for each in ids]
        pay(flash, bolt11s[0])
        wait_until(lambda: look(program, ids[0])["paid"], "the first is paid")
        program.kill()
        for bolt11 in bolt11s[1:]:
            pay(flash, bolt11)
        program.start()
        wait_until(lambda: all(paid_in_the_table(tmp_path, each) for each in ids), "all are found to be paid")


def paid_in_the_table(folder: Path, order_id: str) -> bool:
    """Whether the shop's own table says so, without anybody looking at the order."""
    with sqlite3.connect(folder / "shop.sqlite3") as database:
        row = database.execute("SELECT paid_by FROM orders WHERE id = ?", (order_id,)).fetchone()
    return row is not None and row[0] is not None


def test_two_workers_share_the_orders(flash: dict[str, str], tmp_path: Path) -> None:
    """Both hear of a payment, one marks the order, and either can show it."""
    with (
        shop("aiohttp_shop", flash, tmp_path).running() as one,
        shop("aiohttp_shop", flash, tmp_path).running() as other,
    ):
        order_id = order(one).json()["id"]
        pay(flash, look(other, order_id)["bolt11"])
        for worker in (one, other):
            wait_until(lambda worker=worker: look(worker, order_id)["paid"], "both workers know")  # type: ignore[misc]  # mypy can't infer a lambda with a default


def test_a_lightning_address(flash: dict[str, str], tmp_path: Path) -> None:
    """A wallet finds the address, gets an invoice over exactly what it asked for, and is refused in LNURL's way."""
    with example("lnurl_server", flash, tmp_path, "/.well-known/lnurlp/shop").running() as running:
        said = asking.get(running.ready, timeout=40).json()
        assert said["tag"] == "payRequest"
        answer = asking.get(said["callback"], params={"amount": "21000000"}, timeout=40).json()
        pay(flash, answer["pr"])
        for wrong in ("", "0", "many", "9" * 30):
            refused = asking.get(said["callback"], params={"amount": wrong}, timeout=40).json()
            assert refused["status"] == "ERROR"
