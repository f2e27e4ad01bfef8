"""A shop's side of tap to pay: cards written as an app writes them, and terminals that ask for their money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from yarl import URL

from tests.lightning_host.hosts import eventually
from tests.support.checkouts import KEY
from tests.support.software_card import SoftwareCard

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import RunningHost

__all__ = [
    "CARDS",
    "FLASHCARD_KEY",
    "Terminal",
    "balance",
    "card_api",
    "funded_card",
    "make_card",
    "top_up",
    "write_card",
]

CARDS: Final = "/api/v1/stores/shop/flashcards"
FLASHCARD_KEY: Final = "key-that-seals-the-cards-of-tests"


async def card_api(host: RunningHost, card: dict[str, Any], method: str, path: str, body: Any = None) -> Any:
    """Call the API of a card as its shop does; gives the answer of a success."""
    status, told = await host.request(method, f"{CARDS}/{card['id']}{path}", json=body, headers=KEY)
    assert status == 200, told
    return told


async def make_card(host: RunningHost, name: str = "Ada") -> dict[str, Any]:
    """Make a card with nothing on it."""
    status, card = await host.request("POST", CARDS, json={"name": name}, headers=KEY)
    assert status == 200, card
    assert isinstance(card, dict)
    return card


async def write_card(host: RunningHost, card: dict[str, Any], **body: Any) -> SoftwareCard:
    """Write a chip for the card, as an app does that was shown the programming link."""
    link = await card_api(host, card, "POST", "/programming", body)
    status, keys = await host.get(URL(link["url"]).path_qs)
    assert status == 200, keys
    return SoftwareCard(keys["lnurlw_base"], bytes.fromhex(keys["k1"]), bytes.fromhex(keys["k2"]))


async def funded_card(
    host: RunningHost, wallet: FakeNode | Any, sat: int, **limits: Any
) -> tuple[dict[str, Any], SoftwareCard]:
    """Make a card with money on it that can be tapped; `limits` are set as a shop sets them."""
    card = await make_card(host)
    await top_up(host, wallet, card, sat)
    if limits:
        await card_api(host, card, "PATCH", "/spending", limits)
    return card, await write_card(host, card)


async def top_up(host: RunningHost, wallet: FakeNode | Any, card: dict[str, Any], sat: int) -> None:
    """Pay to the card, and wait until it is there."""
    before = await balance(host, card)
    checkout = await card_api(host, card, "POST", "/topups", {"amount": str(sat * 1000)})
    if hasattr(wallet, "foreign_invoice"):
        wallet.pay(checkout["BOLT11"])
    else:
        await wallet.pay(checkout["paymentHash"])

    async def has() -> bool:
        return await balance(host, card) >= before + sat * 1000

    await eventually(has)


async def balance(host: RunningHost, card: dict[str, Any]) -> int:
    """Return the card's balance in millisatoshi."""
    return int((await card_api(host, card, "GET", ""))["balance"])


@dataclass
class Terminal:
    """A terminal that speaks plain LUD-03, through one replica."""

    host: RunningHost

    async def read(self, url: str) -> dict[str, Any]:
        """Ask what the URL of a tapped card offers; gives the answer, which may be an error."""
        status, told = await self.host.get(URL(url).path_qs)
        assert status == 200, told
        assert isinstance(told, dict)
        return told

    async def charge(self, offer: dict[str, Any], bolt11: str, **more: str) -> dict[str, Any]:
        """Ask for the payment of a BOLT11, again as long as the host says so; gives the answer, perhaps an error."""
        path = URL(offer["callback"]).path
        params = {"k1": offer["k1"], "pr": bolt11, **more}
        while True:
            status, told = await self.host.get(path, params=params)
            assert status == 200, told
            assert isinstance(told, dict)
            if "ask again" not in told.get("reason", ""):
                return told
