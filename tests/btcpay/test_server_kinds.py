"""BTCPay sells on every kind of Flash server, and is told in words when a server makes no invoice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.btcpay.server_kinds import BUDGET, KINDS, open_shops
from tests.lightning_host.programs import wait_until
from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    from tests.btcpay.kit import BtcPay
    from tests.btcpay.shop import Shop

pytestmark = pytest.mark.timeout(300)

REFUSING = ("small-budget", "blocks")
LOG_IN = "log in to Flash again"
SELLING = [name for name in KINDS if name not in REFUSING]
SOCKETS = ("accept-bearer", "decline-bearer", "close-bearer")


@pytest.fixture(scope="module")
def shops(btcpay: BtcPay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Shop]]:
    """Give a shop on each kind of server, whose books are compared at the end."""
    with open_shops(btcpay, tmp_path_factory.mktemp("kinds")) as opened:
        yield opened
        for shop in opened.values():
            shop.assert_ledgers_agree()


def health(shop: Shop, kind: str) -> tuple[int, str]:
    """Return the status of the host's `/health`, and what it says of this kind's store."""
    answer = asking.get(f"{shop.host.url}/health", timeout=20)
    return answer.status_code, str(answer.json()["byStore"][kind])


def refusal(shop: Shop) -> str:
    """Try to sell, which is refused; gives BTCPay's words."""
    status, answer = shop.try_to_sell()
    assert status == 400, answer
    return str(answer["message"])


@pytest.fixture(scope="module")
def sales(shops: Mapping[str, Shop]) -> Iterator[Mapping[str, Future[float]]]:
    """Give a sale on each kind of server that sells, all of them begun at once: most of the time they wait."""
    with ThreadPoolExecutor(4) as threads:
        yield {kind: threads.submit(sell, shops[kind]) for kind in SELLING}


def sell(shop: Shop) -> float:
    """Sell, pay and wait until BTCPay has settled it."""
    sale = shop.sell(tries=3)
    shop.pay(sale.bolt11)
    return shop.wait_settled(sale)


@pytest.mark.parametrize("kind", SELLING)
def test_sale(sales: Mapping[str, Future[float]], kind: str) -> None:
    """A sale is settled at BTCPay."""
    assert sales[kind].result() > 0


def test_budget_is_used_up(shops: Mapping[str, Shop]) -> None:
    """Beyond the budget a sale is refused with the reason; those before are good, and the server blocks nothing."""
    shop = shops["small-budget"]
    sale = shop.sell()
    status, last = [shop.try_to_sell() for _ in range(BUDGET)][-1]
    assert status == 400
    assert "budget of new invoices is used up until" in last["message"]
    assert shop.operations()["lnUsdInvoiceCreate"] == BUDGET
    shop.pay(sale.bolt11)
    shop.wait_settled(sale)


def test_server_blocks_new_invoices(shops: Mapping[str, Shop]) -> None:
    """A block of Flash's is told as one, with its end and reason, at BTCPay and in `/health`; open sales settle."""
    shop = shops["blocks"]
    sale = shop.sell()
    assert "Flash has blocked creating until" in refusal(shop)
    assert "because this account asked for more invoices than it allows" in refusal(shop)
    status, words = health(shop, "blocks")
    assert status == 503
    assert "Flash has blocked creating until" in words
    shop.pay(sale.bolt11)
    shop.wait_settled(sale)


@pytest.fixture(scope="module")
def expired_sessions(shops: Mapping[str, Shop], sales: object) -> Iterator[Mapping[str, Future[None]]]:
    """Let the session expire on each kind of socket, at once, after the sales."""
    del sales
    with ThreadPoolExecutor(len(SOCKETS)) as threads:
        yield {kind: threads.submit(expire_session, shops[kind], kind) for kind in SOCKETS}


def expire_session(shop: Shop, kind: str) -> None:
    """Let a session expire between two sales and their payments; checks what is told meanwhile and afterwards."""
    sales = [shop.sell() for _ in range(2)]
    shop.sandbox("expire_session")
    shop.fault("reset", when="now")  # a socket that is open goes on as if nothing were, and may even sell
    shop.pay(sales[0].bolt11)
    wait_until(lambda: LOG_IN in health(shop, kind)[1], "`/health` says so")
    shop.pay(sales[1].bolt11)
    shop.wait_settled(*sales, meanwhile=lambda: _says_so_still(shop, kind))
    assert LOG_IN in refusal(shop)
    _says_so_still(shop, kind)


def _says_so_still(shop: Shop, kind: str) -> None:
    status, words = health(shop, kind)
    assert status == 503
    assert LOG_IN in words


@pytest.mark.parametrize("kind", SOCKETS)
def test_session_expires_in_the_middle(expired_sessions: Mapping[str, Future[None]], kind: str) -> None:
    """Open invoices settle; BTCPay and `/health` say what to do, and `/health` says it all the time."""
    expired_sessions[kind].result()
