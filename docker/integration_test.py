"""Drives sandbox and two replicas from inside their network; `docker/compose-test` kills and restarts in between.

Takes steps, one after the other, with a plus sign between them:

wait                    until both replicas are healthy
basics                  create at one replica, hear at the other; Greenfield, LNURL, a flashcard
webhooks                be told of payments by a webhook, signed, and once although two replicas send
prepare                 open a checkout and a top-up, print what the next steps need
paid-at-b STATE         pay them, and see both at replica b
pay-only STATE          pay them
counted-once STATE      both replicas have counted each exactly once
prepare-many            open checkouts at both replicas, print what the next steps need
pay-many STATE          pay them, one after the other, after saying so
many-at-b STATE         see all of them at replica b
many-counted-once STATE both replicas have counted each exactly once
"""

# ruff: noqa: INP001 - a script that stands alone in its image
from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

A: Final = "http://host-a:8080"
B: Final = "http://host-b:8080"
CONTROL: Final = "http://sandbox:4010/control"
STORE: Final = "/api/v1/stores/shop"
KEY_FILE: Final = Path("/run/secrets/api_key")
SECONDS: Final = 60
MSAT: Final = "21000000"
MANY: Final = 20
"""How many checkouts each replica opens where many are paid."""


class CheckFailedError(Exception):
    """Something is not as it has to be."""


class Driver:
    """Asks the replicas and the sandbox."""

    def __init__(self, session: aiohttp.ClientSession, key: str) -> None:
        self._session = session
        self._headers = {"Authorization": f"token {key}"}

    async def get(self, url: str) -> Any:
        """GET a URL as the shop does; gives the JSON of a good answer."""
        async with self._session.get(url, headers=self._headers) as response:
            return await _answer(response)

    async def post(self, url: str, body: dict[str, Any]) -> Any:
        """POST JSON as the shop does; gives the JSON of a good answer."""
        async with self._session.post(url, json=body, headers=self._headers) as response:
            return await _answer(response)

    async def delete(self, url: str) -> None:
        """DELETE as the shop does."""
        async with self._session.delete(url, headers=self._headers) as response:
            await _answer(response)

    async def pay(self, bolt11: str) -> None:
        """Pay as a customer does."""
        async with self._session.post(f"{CONTROL}/pay", json={"payment_request": bolt11}) as response:
            await _answer(response)

    async def hears(self, base: str, checkout_id: str) -> None:
        """Wait until the page's stream at a replica tells that the checkout is paid."""
        async with self._session.get(f"{base}/checkout/{checkout_id}/events") as response:
            async for line in response.content:
                if line.startswith(b"data: ") and json.loads(line[6:])["status"] == "Settled":
                    return
        raise CheckFailedError("the stream ended before the payment was told")

    async def wait(self) -> None:
        """Wait until both replicas are healthy."""

        async def healthy() -> bool:
            try:
                return all([(await self.get(f"{base}/health"))["status"] == "ok" for base in (A, B)])
            except (aiohttp.ClientError, CheckFailedError):
                return False

        await eventually(healthy)

    async def basics(self) -> None:
        """Create at one replica, hear at the other; each group once."""
        checkout = await self.post(f"{A}{STORE}/checkouts", {"amount": MSAT, "description": "espresso"})
        hearing = asyncio.create_task(self.hears(B, checkout["id"]))
        await self.pay(checkout["BOLT11"])
        await hearing
        say("checkout: made at a, paid, heard at b")

        invoice = await self.post(
            f"{B}{STORE}/lightning/BTC/invoices", {"amount": MSAT, "description": "x", "expiry": 60}
        )
        await self.pay(invoice["BOLT11"])

        async def paid() -> bool:
            found = await self.get(f"{A}{STORE}/lightning/BTC/invoices/{invoice['id']}")
            return bool(found["status"] == "Paid")

        await eventually(paid)
        say("Greenfield: made at b, paid, seen at a")

        pay_request = await self.lnurl(f"{A}/.well-known/lnurlp/shop", 10_001)
        await self.pay(pay_request["pr"])

        async def settled() -> bool:
            return bool((await self.get(pay_request["verify"]))["settled"])

        await eventually(settled)
        say("LNURL-pay: scanned, paid, verified")

        card = await self.post(f"{A}{STORE}/flashcards", {"name": "integration"})
        scanned = await self.lnurl(f"{B}/flashcard-lnurl/{await self.address(card)}", 5_000_000)
        await self.pay(scanned["pr"])
        await self.balance(B, card["id"], 5_000_000)
        say("flashcard: scanned at b, paid, balance has grown")

        operations = (await self.get(f"{CONTROL}/ledger"))["executed"]
        created = {field: count for field, count in operations.items() if "InvoiceCreate" in field}
        check(created, operations)
        check(not any(count.get("http") for count in created.values()), created)
        say("every invoice was made over the WebSocket")

    async def webhooks(self) -> None:
        """Be told of payments, signed, and once although two replicas send."""
        secret = secrets.token_hex(16)
        async with receiver() as (url, received):
            webhook = await self.post(f"{A}{STORE}/webhooks", {"url": url, "secret": secret})
            checkouts = [await self.post(f"{base}{STORE}/checkouts", {"amount": MSAT}) for base in (A, B)]
            for checkout in checkouts:
                await self.pay(checkout["BOLT11"])
            async with asyncio.timeout(SECONDS):
                told = [await received.get() for _ in checkouts]
            for signature, body in told:
                mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
                check(hmac.compare_digest(signature, f"sha256={mac}"), f"the signature is not right: {signature}")
            paid = sorted(json.loads(body)["invoiceId"] for _, body in told)
            check(paid == sorted(checkout["id"] for checkout in checkouts), told)
            one = f"{STORE}/webhooks/{webhook['id']}"

            async def delivered() -> bool:
                deliveries = await self.get(f"{B}{one}/deliveries")
                return {(each["status"], each["attempts"]) for each in deliveries} == {("HttpSuccess", 1)}

            await eventually(delivered)
            check(received.empty(), "a payment was told twice")
            await self.delete(f"{B}{one}")
        say("webhook: each payment told once, and signed")

    async def lnurl(self, link: str, msat: int) -> Any:
        """Ask an LNURL-pay link for an invoice."""
        told = await self.get(link)
        check(told["tag"] == "payRequest", told)
        check(told["minSendable"] <= msat <= told["maxSendable"], told)
        return await self.get(f"{told['callback']}?amount={msat}")

    async def address(self, card: dict[str, Any]) -> str:
        """Read the address out of a card's LNURL: bech32 of its URL."""
        alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
        words = [alphabet.index(letter) for letter in card["lnurl"].lower().partition("1")[2][:-6]]
        bits = "".join(f"{word:05b}" for word in words)
        url = bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits) - 7, 8)).decode()
        return url.rpartition("/")[2]

    async def balance(self, base: str, card_id: str, msat: int) -> None:
        """Wait until a replica tells this balance."""

        async def has() -> bool:
            return bool((await self.get(f"{base}{STORE}/flashcards/{card_id}"))["balance"] == str(msat))

        await eventually(has)

    async def prepare(self) -> None:
        """Open what the next steps pay."""
        checkout = await self.post(f"{A}{STORE}/checkouts", {"amount": MSAT})
        card = await self.post(f"{A}{STORE}/flashcards", {"name": "survivor"})
        top_up = await self.lnurl(f"{A}/flashcard-lnurl/{await self.address(card)}", 7_000_000)
        say(json.dumps({"checkout": checkout, "card": card["id"], "top_up": top_up["pr"]}))

    async def pay_only(self, state: dict[str, Any]) -> None:
        """Pay the checkout and the card."""
        await self.pay(state["checkout"]["BOLT11"])
        await self.pay(state["top_up"])

    async def paid_at_b(self, state: dict[str, Any]) -> None:
        """Pay, and see it at the replica that is left."""
        hearing = asyncio.create_task(self.hears(B, state["checkout"]["id"]))
        await self.pay_only(state)
        await hearing
        await self.balance(B, state["card"], 7_000_000)
        say("heard and credited at b")

    async def counted_once(self, state: dict[str, Any]) -> None:
        """See at both replicas that each payment was counted, and once."""
        for base in (A, B):
            await self.hears(base, state["checkout"]["id"])
            checkout = await self.get(f"{base}{STORE}/checkouts/{state['checkout']['id']}")
            check(checkout["overpaid"] == "0", checkout)
            await self.balance(base, state["card"], 7_000_000)
            check(
                len(await self.get(f"{base}{STORE}/flashcards/{state['card']}/history")) == 1,
                "a payment was credited twice",
            )
        say("counted once, at both replicas")

    async def prepare_many(self) -> None:
        """Open checkouts at both replicas."""
        asked = (self.post(f"{base}{STORE}/checkouts", {"amount": MSAT}) for _ in range(MANY) for base in (A, B))
        made = await asyncio.gather(*asked)
        say(json.dumps([{name: each[name] for name in ("id", "BOLT11")} for each in made]))

    async def pay_many(self, state: list[dict[str, Any]]) -> None:
        """Pay them with pauses, so that some are being recorded whenever a replica is stopped."""
        say("paying")
        for checkout in state:
            await self.pay(checkout["BOLT11"])
            await asyncio.sleep(0.05)

    async def many_at_b(self, state: list[dict[str, Any]]) -> None:
        """See every payment at the replica that is left."""
        await asyncio.gather(*(self.hears(B, checkout["id"]) for checkout in state))
        say(f"all {len(state)} heard at b")

    async def many_counted_once(self, state: list[dict[str, Any]]) -> None:
        """See at both replicas that each payment was counted, and once."""
        for base in (A, B):
            await asyncio.gather(*(self.hears(base, checkout["id"]) for checkout in state))
            for checkout in state:
                told = await self.get(f"{base}{STORE}/checkouts/{checkout['id']}")
                check(told["overpaid"] == "0", told)
        say("counted once, at both replicas")


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, asyncio.Queue[tuple[str, bytes]]]]:
    """Serve a webhook while the block runs; gives its URL in this network, and what comes: signature and body."""
    received: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        received.put_nowait((request.headers.get("BTCPay-Sig", ""), await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    address = socket.gethostbyname(socket.gethostname())
    await web.TCPSite(runner, address, 0).start()  # noqa: TID251 - the process ends with it
    try:
        yield f"http://{address}:{runner.addresses[0][1]}/hook", received
    finally:
        await runner.cleanup()


def check(holds: object, told: object) -> None:
    """Go on only if something holds."""
    if not holds:
        raise CheckFailedError(told)


def say(words: str) -> None:
    """Tell the process that started the step."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; bounded."""
    async with asyncio.timeout(SECONDS):
        while not await condition():  # noqa: ASYNC110 - asks other processes, which set no event
            await asyncio.sleep(0.1)


async def _answer(response: aiohttp.ClientResponse) -> Any:
    told = await response.json(content_type=None)
    check(response.status < 300, f"{response.method} {response.url}: {response.status} {told}")
    return told


async def main(*words: str) -> None:
    """Take each step."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        driver = Driver(session, KEY_FILE.read_text().strip())
        for step, *arguments in _steps(words):
            await getattr(driver, step.replace("-", "_"))(*(json.loads(each) for each in arguments))


def _steps(words: tuple[str, ...]) -> list[list[str]]:
    """Tell steps apart: each begins the line or follows a plus sign."""
    steps: list[list[str]] = [[]]
    for word in words:
        if word == "+":
            steps.append([])
        else:
            steps[-1].append(word)
    return steps


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
