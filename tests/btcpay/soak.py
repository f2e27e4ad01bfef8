"""A longer trial: BTCPay sells and pays out while everything around it fails at random; then the books are compared.

    python -m tests.btcpay.soak --seconds 300 --seed 7

Two replicas of the host stand behind the proxy of docker/proxy. One fault after another, drawn by the seed, strikes a
replica, its way to the database, the database, or Flash. The seed draws what happens, not how the threads meet, so
two runs are alike and not the same. Prints one JSON object; ends with status 1 when a sale was lost, a payment was made
twice, or the books differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.btcpay.kit import running_btcpay
from tests.btcpay.proxies import frozen, line_to_database
from tests.btcpay.shop import open_shop, wait_until_healthy
from tests.support.postgres import PostgresServer, binaries

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.btcpay.proxies import DatabaseLine
    from tests.btcpay.shop import Sale, Shop

_log: Final = logging.getLogger("btcpay soak")

SHORTEST, LONGEST = 3.0, 40.0
"""How long a fault lasts, in seconds."""

SALE_SECONDS: Final = 1.0
"""Between two sales."""

PAYOUT_SECONDS: Final = 4.0
"""Between two payouts."""

LATEST_PAYMENT: Final = 20.0
"""How many seconds after a sale its customer pays at the latest: the BOLT11 lives for 60."""

PENDING_SECONDS: Final = 720.0
"""How long the books are waited for: BTCPay looks after payouts in progress every ten minutes."""

_TOLD_OF_LOGS: Final = 6_000
"""How much of each program's log is printed when one does not come back, in characters."""

PAYOUT_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "payment", "outcome": "FAILURE"},
    {"kind": "payment", "outcome": "INSUFFICIENT_BALANCE"},
    {"kind": "payment", "outcome": "SUCCESS", "executed": True, "seconds": 12},
    {"kind": "close", "when": "after_execute", "operation": "lnInvoicePaymentSend"},
    {"kind": "silent", "when": "after_execute", "operation": "lnInvoicePaymentSend"},
)


class Soak:
    """Customers, payouts and faults, until the time is over."""

    def __init__(self, shop: Shop, postgres: PostgresServer, lines: list[DatabaseLine], seed: int) -> None:
        self._shop = shop
        self._postgres = postgres
        self._lines = lines
        self._seed = seed
        self._over = threading.Event()
        self.paid: list[Sale] = []
        self.payouts = 0
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Sell, pay out and break things for a while; at the end everything is whole again."""
        workers = [threading.Thread(target=self._again, args=work) for work in self._work()]
        for worker in workers:
            worker.start()
        chance, end = random.Random(self._seed), time.monotonic() + seconds  # noqa: S311 - to be drawn again
        try:
            while time.monotonic() < end:
                self._break_something(chance)
        finally:
            self._over.set()
            for worker in workers:
                worker.join()
        self._shop.no_faults()
        for host in self._shop.hosts:
            wait_until_healthy(host.url)

    def _work(self) -> list[tuple[Callable[[random.Random], None], float, int]]:
        customers: list[tuple[Callable[[random.Random], None], float, int]] = [
            (self._buy, 4 * SALE_SECONDS, self._seed + number) for number in range(1, 5)
        ]
        return [*customers, (self._pay_out, PAYOUT_SECONDS, self._seed + 5)]

    def _again(self, work: Callable[[random.Random], None], pause: float, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - to be drawn again
        while not self._over.wait(pause):
            # BTCPay refuses what it can't do while the host is away; it is asked again with the next one.
            try:
                work(chance)
            except (AssertionError, httpx.TransportError, ValueError) as error:
                self.counts["refused"] += 1
                _log.info("refused: %s", str(error)[:200])

    def _buy(self, chance: random.Random) -> None:
        sale = self._shop.sell(str(chance.randrange(500, 5_000)))
        self.counts["sold"] += 1
        self._over.wait(chance.uniform(0, LATEST_PAYMENT) if chance.random() < 0.5 else 0)
        with contextlib.suppress(AssertionError):  # the sandbox was frozen so long that the BOLT11 is over
            self._shop.pay(sale.bolt11)
            self.paid.append(sale)

    def _pay_out(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            fault = dict(chance.choice(PAYOUT_FAULTS))
            self._shop.fault(fault.pop("kind"), **fault)
        self._shop.pay_out(*self._shop.foreign())
        self.payouts += 1

    # --- faults -----------------------------------------------------------------------------------------------------

    def _break_something(self, chance: random.Random) -> None:
        faults = (
            self._kill_a_replica,
            self._freeze_a_replica,
            self._cut_a_replica_off,
            self._restart_the_database,
            self._freeze_flash,
            self._reset_flash,
        )
        fault, seconds = chance.choice(faults), chance.uniform(SHORTEST, LONGEST)
        name = fault.__name__.strip("_")
        self.faults[name] += 1
        _log.info("%s for %.0f s", name, seconds)
        fault(chance.randrange(2), seconds)
        self._over.wait(chance.uniform(1, 10))

    def _kill_a_replica(self, index: int, seconds: float) -> None:
        host = self._shop.hosts[index]
        host.kill()
        self._over.wait(seconds)
        host.start()

    def _freeze_a_replica(self, index: int, seconds: float) -> None:
        with frozen(self._shop.hosts[index]):
            self._over.wait(seconds)

    def _cut_a_replica_off(self, index: int, seconds: float) -> None:
        with frozen(self._lines[index].program):
            self._over.wait(seconds)

    def _restart_the_database(self, _: int, seconds: float) -> None:
        self._postgres.stop()
        self._over.wait(min(seconds, 10))
        self._postgres.start()

    def _freeze_flash(self, _: int, seconds: float) -> None:
        with self._shop.flash_frozen():
            self._over.wait(seconds)

    def _reset_flash(self, _: int, seconds: float) -> None:
        self._shop.fault("reset", when="now")
        self._over.wait(min(seconds, 5))


def main() -> None:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311 - printed, to be given again
    parser.add_argument("--verbose", action="store_true", help="tell each fault and each refusal")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    bin_folder = binaries()
    if bin_folder is None:
        sys.exit("PostgreSQL's binaries are not there (Debian: apt-get install postgresql)")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        btcpay = stack.enter_context(running_btcpay())
        postgres = stack.enter_context(PostgresServer(bin_folder))
        database = postgres.new_database()
        lines = [stack.enter_context(line_to_database(folder, postgres, database)) for _ in range(2)]
        options = ("--rate-limit", "off")
        shop = stack.enter_context(open_shop(btcpay, folder, *options, databases=[line.url for line in lines]))
        shop.automate_payouts()
        soak = Soak(shop, postgres, lines, arguments.seed)
        try:
            soak.run(arguments.seconds)
        except AssertionError:
            for log in sorted(folder.glob("*.log")):
                sys.stderr.write(f"--- {log.name}\n{log.read_text(errors='replace')[-_TOLD_OF_LOGS:]}\n")
            raise
        differences = shop.wait_for_agreement(PENDING_SECONDS)
        payments = shop.ledger()["payments"]
        report = {
            "seed": arguments.seed,
            "sold": soak.counts["sold"],
            "paid": len(soak.paid),
            "settled": len({sale.invoice for sale in soak.paid} & shop.settled()),
            "refused": soak.counts["refused"],
            "payouts": soak.payouts,
            "sent": sum(each["times_executed"] for each in payments),
            "sent twice": sum(each["times_executed"] > 1 for each in payments),
            "faults": dict(soak.faults),
            "requests to Flash": shop.operations(),
            "differences": differences,
        }
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        sys.exit(1 if differences or report["settled"] < report["paid"] else 0)


if __name__ == "__main__":
    main()
