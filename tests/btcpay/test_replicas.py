"""Two replicas behind the proxy of docker/proxy: one that is frozen or blind costs no sale."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.btcpay.proxies import frozen, line_to_database
from tests.btcpay.shop import open_shop, wait_until_healthy
from tests.lightning_host.programs import wait_until
from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.btcpay.kit import BtcPay
    from tests.btcpay.proxies import DatabaseLine
    from tests.btcpay.shop import Shop
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Replicas:
    """A shop whose two hosts reach their database by a line of their own each."""

    shop: Shop
    lines: list[DatabaseLine]

    def of_btcpay(self) -> int:
        """Wait until BTCPay, which has a sale open, listens to one replica only; gives the replica's index."""
        self.shop.nudge()
        wait_until(lambda: sum(map(self.is_listened_to, range(2))) == 1, "BTCPay listens to one replica")
        return next(filter(self.is_listened_to, range(2)))

    def is_listened_to(self, index: int) -> bool:
        """Whether BTCPay has a socket to a replica."""
        return self.shop.metric("lightning_host_subscribers", at=index, kind="socket") > 0

    def is_ready(self, index: int) -> bool:
        """Whether a replica says that it can serve."""
        return asking.get(f"{self.shop.hosts[index].url}/ready", timeout=20).status_code == 200


@pytest.fixture(scope="module")
def replicas(btcpay: BtcPay, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Give two replicas on one database, whose books are compared at the end."""
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        database = postgres.new_database()
        lines = [stack.enter_context(line_to_database(folder, postgres, database)) for _ in range(2)]
        urls = [line.url for line in lines]
        shop = stack.enter_context(open_shop(btcpay, folder, "--rate-limit", "off", databases=urls))
        yield Replicas(shop, lines)
        shop.assert_ledgers_agree()


def test_frozen_replica(replicas: Replicas) -> None:
    """The replica that BTCPay listens to freezes, its sockets stay open: BTCPay hears of its sales at the other one."""
    shop = replicas.shop
    sales = [shop.sell() for _ in range(4)]
    index = replicas.of_btcpay()
    with frozen(shop.hosts[index]):
        for sale in sales:
            shop.pay(sale.bolt11)
        shop.wait_settled(*sales)
    wait_until_healthy(shop.hosts[index].url)


def test_replica_without_its_database(replicas: Replicas) -> None:
    """A replica whose database is silent says so in `/ready` and ends its sockets: the other one tells of its sales."""
    shop = replicas.shop
    *sales, _ = [shop.sell() for _ in range(5)]
    index = replicas.of_btcpay()
    with frozen(replicas.lines[index].program):
        for sale in sales:
            shop.pay(sale.bolt11)
        # BTCPay asks for its invoices as well: it may know of the sales before the replica knows that it is blind.
        shop.wait_settled(*sales)
        wait_until(lambda: not replicas.is_ready(index), "the replica says that it is not ready")
        shop.nudge()  # it listens on, for the sale that is open
        wait_until(lambda: replicas.is_listened_to(1 - index), "BTCPay listens to the other replica")
    wait_until_healthy(shop.hosts[index].url)
