"""Replays recorded requests and frames against a sandbox; answers are compared up to ids and numbers."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.flash_driver.sandbox.conftest import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.sandbox import Sandbox
    from tests.flash_driver.sandbox.clients import Lab, Socket
    from tests.flash_driver.sandbox.conftest import StartLab

__all__ = ["CAPTURES", "Replay", "normal"]

CAPTURES: Final[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors/flash_captures.json").read_text())

_HTTP: Final = {case["name"]: case for case in CAPTURES["http"]}
_NUMBERS: Final = {
    "amount",
    "balance",
    "base",
    "createdAt",
    "retryAfterSeconds",
    "settlementAmount",
    "settlementDisplayAmount",
    "settlementFee",
    "timestamp",
}
_IDS: Final = {
    "accountId",
    "cursor",
    "defaultWalletId",
    "endCursor",
    "id",
    "startCursor",
    "userDefaultWalletId",
    "walletId",
}
_ONE_CENT_MSAT: Final = 10_000
_INVOICES: Final = {
    "invoice": 10_000_000,
    "foreign": 1_000_000,
    "other": 1_000_000,
    "rich": 900_000_000,
    "amountless": None,
}
"""The amounts in msat of the invoices that requests name; `invoice` is the account's own."""


def normal(value: Any, key: str = "") -> Any:
    """Put a word in place of what differs from run to run: ids, hashes, invoices and the custodian's numbers."""
    if isinstance(value, dict):
        return {name: each if _is_socket_id(name, value) else normal(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [normal(each) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if key in _NUMBERS:
        return "<number>"
    if key in _IDS:
        return "<id>"
    if key == "paymentRequest":
        return "<bolt11>"
    if key in {"paymentHash", "paymentPreimage"} and value:
        return "<hex>"
    return re.sub(r"(Required: )[\d.]+", r"\1<number>", value) if key == "message" else value


def _is_socket_id(name: str, value: Mapping[str, Any]) -> bool:
    """The id of an operation on a socket is the client's own and stays."""
    return name == "id" and "type" in value


class Replay:
    """One case against one sandbox that is set up as the recorded server was."""

    def __init__(self, lab: Lab, clock: Clock) -> None:
        self.lab = lab
        self.sandbox: Sandbox = lab.sandbox
        self._clock = clock
        self._invoices: dict[str, str] = {}

    @classmethod
    async def of(cls, start_lab: StartLab, case: Mapping[str, Any]) -> Replay:
        """Start a sandbox for a case, and let happen what came before it."""
        options = {
            "username": case["account"],
            "network": "mainnet",
            "balance_cents": Decimal(10_000),
            **CAPTURES["accounts"][case["account"]],
            **case.get("options", {}),
        }
        for name in ("wallets", "api_key_scopes"):
            if name in options:
                options[name] = tuple(options[name])
        clock = Clock()
        replay = cls(await start_lab(clock=clock, **options), clock)
        for step in case.get("before", ()):
            await replay.step(step)
        replay.arm(case)
        return replay

    def arm(self, case: Mapping[str, Any]) -> None:
        """Arm the fault of a case, if it has one."""
        if fault := dict(case.get("fault", {})):
            self.sandbox.arm(fault.pop("kind"), **fault)

    async def step(self, step: str) -> None:  # noqa: C901 - a table of what a step means
        """Let something happen: a payment, the end of an invoice, another case."""
        match step.split():
            case ["case", name]:
                self.arm(_HTTP[name])
                await self.ask(_HTTP[name])
            case ["invoice"]:
                self._invoice("invoice")
            case ["pay", *late]:
                self.sandbox.pay(self.filled("@invoice"), force=bool(late), msat=_ONE_CENT_MSAT)
            case ["expire"]:
                self.filled("@invoice")
                self._clock.advance(seconds=61)
            case ["receive"]:
                self.sandbox.pay((await self.lab.invoice(63, memo="x"))["paymentRequest"])
            case ["send"]:
                assert (await self.lab.pay(self.sandbox.foreign_invoice(1_000_000).payment_request))["errors"] == []
            case ["close"]:
                self.sandbox.set_active(active=False)
            case ["moving"]:
                self.sandbox.set_cutover("IN_PROGRESS", "MOVING")
            case ["block", "public"]:
                for _ in range(2):
                    await self.ask(_HTTP["public/onbehalf_anonymous"], account=False)
            case ["key", times]:
                for _ in range(int(times)):
                    await self.lab.http("{ __typename }", headers={"X-API-KEY": self.sandbox.api_key})

    async def ask(self, case: Mapping[str, Any], *, account: bool = True) -> tuple[int, Mapping[str, str], Any]:
        """Send the request of a case; return status, headers and body of the answer."""
        variables = self.filled(case.get("variables"))
        body = {"query": CAPTURES["documents"][case["document"]], "variables": variables}
        headers = {**self._credential(case["as"] if account else "nobody"), **case.get("headers", {})}
        async with self.lab.session.post(self.sandbox.server, json=body, headers=headers) as response:
            return response.status, response.headers, await response.json()

    async def converse(self, case: Mapping[str, Any]) -> None:
        """Send the frames of a case, and check that what comes back is what was recorded."""
        socket = await self.lab.raw_socket(*case.get("protocols", ()))
        wanted: list[Any] = []
        for step, *details in case["frames"]:
            if step == "<":
                wanted.append(details[0])
                continue
            await _expect(socket, wanted)
            if step == ">":
                await self._say(socket, details[0])
            elif step == "x":
                assert await socket.closed() == (details[0], details[1])
            elif step == "-":
                await socket.send(type="ping")
                assert await socket.receive() == {"type": "pong"}
            elif step == "skip":
                for _ in range(details[0]):
                    await socket.receive()
            elif step == "tick":
                self.sandbox.set_price()
            else:
                await self.step(step)
        await _expect(socket, wanted)

    async def _say(self, socket: Socket, message: Any) -> None:
        if isinstance(message, str):
            await socket.connection.send_str(message)
        else:
            await socket.send(**self.filled(message))

    def filled(self, value: Any) -> Any:
        """Put ids and invoices of this sandbox where a request has `@name`."""
        if isinstance(value, dict):
            return {name: self.filled(each) for name, each in value.items()}
        if not isinstance(value, str) or not value.startswith("@"):
            return value
        name = value[1:]
        if name in self.sandbox.wallet_ids:
            return self.sandbox.wallet_ids[name]
        if name.lower() in _INVOICES:
            invoice = self._invoice(name.lower())
            return invoice.upper() if name.isupper() else invoice
        return {
            "stranger": self.sandbox.stranger_wallet_id,
            "token": f"Bearer {self.sandbox.token}",
            "transaction": next(iter(self.sandbox._bank.ledger.transactions), None),
        }[name]

    def _credential(self, who: str) -> dict[str, str]:
        return {
            "owner": {"Authorization": f"Bearer {self.sandbox.token}"},
            "stranger": {"Authorization": f"Bearer {self.sandbox.stranger_token}"},
            "wrong": {"Authorization": "Bearer ory_st_nobody"},
            "key": {"X-API-KEY": self.sandbox.api_key},
            "bad key": {"X-API-KEY": f"fk_00000000_{'x' * 64}"},
            "nobody": {},
        }[who]

    def _invoice(self, name: str) -> str:
        """Make the invoice of a name, once: of the account's own, or of some other node."""
        if name not in self._invoices:
            msat = _INVOICES[name]
            own = name == "invoice"
            self._invoices[name] = self._own_invoice() if own else self.sandbox.foreign_invoice(msat).payment_request
        return self._invoices[name]

    def _own_invoice(self) -> str:
        """Make an invoice of the account's, without a request that would count against anything."""
        bank = self.sandbox._bank
        wallet = bank.owner.wallet_of("USD")
        assert wallet is not None
        signed = bank.signer.sign(
            msat=_INVOICES["invoice"],
            description="x",
            now=bank.clock(),
            expiry=timedelta(seconds=self.sandbox.options.invoice_expiry_seconds),
            network="bc",
        )
        bank.ledger.add_invoice(wallet, signed, Decimal(1000), "x")
        return signed.payment_request


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


async def _expect(socket: Socket, wanted: list[Any]) -> None:
    """Read as many frames as are wanted; which of several comes first is not the server's promise."""
    got = [normal(await socket.receive()) for _ in wanted]
    got, wanted[:] = [sorted(each, key=_written) for each in (got, map(normal, wanted))]
    assert got == wanted
    wanted.clear()
