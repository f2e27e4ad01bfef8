from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from bolt11 import decode
from rich.console import Console

from connection_strings import LightMoney, LightningClientFactory, LightningInvoice, LightningInvoiceStatus
from flash_driver.cli import demo as demo_module
from flash_driver.client import FlashLightningClient
from flash_driver.sandbox import Sandbox, SandboxOptions
from flash_driver.settlements.health import Listening

if TYPE_CHECKING:
    from connection_strings import LightningClient
    from tests.flash_driver.cli.commands import Commands

HAPPY_PATH = [
    "attempting WebSocket",
    "WebSocket not connected, connecting",
    "creating invoice via WebSocket",
    "invoice created via WebSocket",
]


def steps_of(act: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the steps of an act by name."""
    return {step["step"]: step for step in act["steps"]}


async def test_both_acts_end_well(cli: Commands) -> None:
    """The first act is carried by the WebSocket, the second falls back to HTTP, and both hear of the payment."""
    ended = await cli("demo")
    assert ended.status == 0
    assert ended.err == ""
    first, second = ended.out.split("2. A server that declines them")
    places = [first.index(event) for event in HAPPY_PATH]
    assert places == sorted(places)
    assert re.search(r"✓ invoice   WebSocket +1,00\d(\.\d+)? sat for 1,000 sat asked", first)
    assert re.search(r"✓ settled   WebSocket", first)
    assert "fell back to HTTP because WebSocket failed" in second
    assert re.search(r"✓ invoice   HTTP", second)
    assert re.search(r"✓ settled   WebSocket", second)


async def test_fits_a_terminal_and_a_pipe(cli: Commands, tmp_path: Path) -> None:
    """Every line but the BOLT11 fits 80 columns, and a pipe gets no colour codes; `SCREENSHOTS=docs` draws it."""
    ended = await cli("demo")
    lines = ended.out.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("lnbcrt")] == []
    assert "\x1b" not in ended.out
    (bolt11,) = [line for line in lines if line.startswith("lnbcrt")]
    assert decode(bolt11).description == "coffee"
    assert sum(line.startswith("██") for line in lines) > 20
    terminal = Console(file=StringIO(), record=True, width=80, highlight=False, markup=False)
    first, _, _ = ended.out.partition("2. A server that declines them")
    terminal.print(first.strip(), overflow="crop", no_wrap=True)
    drawn = re.sub(r"@font-face {.*?}\s*", "", terminal.export_svg(title="make run"), flags=re.DOTALL)
    assert "url(http" not in drawn
    (Path(os.environ.get("SCREENSHOTS", tmp_path)) / "demo.svg").write_text(drawn)


async def test_connection_string_is_shown_masked(cli: Commands) -> None:
    """The string is shown, its token is not."""
    ended = await cli("demo", "--server-kind", "accept", "--verbose")
    assert "token=***" in ended.out
    assert "ory_st_" not in ended.out + ended.err


@pytest.mark.parametrize(("kind", "transport"), [("accept", "websocket"), ("decline", "http"), ("close", "http")])
async def test_json_tells_each_step(cli: Commands, kind: str, transport: str) -> None:
    """A program gets one document: each step, its time, its transport, and the driver's log meanwhile."""
    ended = await cli("demo", "--server-kind", kind, "--sats", "21 sat", "--json")
    assert ended.status == 0
    assert ended.json["ok"] is True
    (act,) = ended.json["acts"]
    steps = steps_of(act)
    assert list(steps) == ["sandbox", "string", "client", "invoice", "listener", "payment", "settled"]
    assert steps["invoice"]["transport"] == transport
    assert steps["invoice"]["log"][-1]["event"].startswith("invoice created via")
    assert steps["settled"]["transport"] == "websocket"
    assert steps["settled"]["invoice"]["status"] == "paid"
    assert steps["settled"]["invoice"]["id"] == steps["invoice"]["invoice"]["id"]
    assert 21_000 <= steps["invoice"]["invoice"]["amount_msat"] <= 21_210
    assert all(step["seconds"] >= 0 for step in act["steps"])


async def test_settings_of_the_user_are_left_alone(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's journal and network do not count here, and the environment is afterwards as it was."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", "postgresql+asyncpg://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("FLASH_NETWORK", "bitcoin")
    before = dict(os.environ)
    ended = await cli("demo", "--server-kind", "accept")
    assert ended.status == 0
    assert dict(os.environ) == before


async def test_nothing_to_pay_is_refused(cli: Commands) -> None:
    """The demonstration needs an amount."""
    ended = await cli("demo", "--sats", "0")
    assert (ended.status, ended.err) == (2, "error: --sats must be more than zero\n")


def broken_sandbox(monkeypatch: pytest.MonkeyPatch, kind: str, /, **details: Any) -> None:
    """Let the demonstration's sandbox have a fault."""

    def make(_kind: str) -> Sandbox:
        sandbox = Sandbox(SandboxOptions())
        sandbox.arm(kind, **details)
        return sandbox

    monkeypatch.setattr(demo_module, "_sandbox", make)


async def test_failing_step_ends_it_with_the_reason(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses the invoice fails the step of the invoice: status 1, and what the server said."""
    broken_sandbox(monkeypatch, "error", message="no invoices today", code="SOME_CODE", count=9)
    ended = await cli("demo")
    assert ended.status == 1
    assert "✗ invoice" in ended.out
    assert "2. A server" not in ended.out
    assert ended.err.startswith("error: the demonstration failed at invoice: no invoices today")
    told = await cli("demo", "--json")
    assert told.status == 1
    assert told.json["error"]["kind"] == "demo-failed"
    assert told.json["error"]["acts"][0]["ok"] is False


async def test_invoice_over_another_transport_is_a_failure(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first act is to show is the WebSocket: an invoice over HTTP does not pass for it."""
    broken_sandbox(monkeypatch, "decline", operation="*", count=9)
    ended = await cli("demo", "--server-kind", "accept")
    assert ended.status == 1
    assert "it came over HTTP" in ended.err


async def test_payment_that_is_not_heard_of_is_a_failure(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the news of the payment the demonstration has failed, and says that time ran out."""
    monkeypatch.setattr(Sandbox, "pay", lambda *_: "00")
    monkeypatch.setattr(demo_module, "_PATIENCE_SECONDS", 0.5)
    ended = await cli("demo", "--server-kind", "accept")
    assert ended.status == 1
    assert "settled: nothing happened in time" in ended.err


async def test_subscription_that_fails_is_a_failure(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that can only ask is not what is demonstrated."""
    real: Any = vars(FlashLightningClient)["health"].fget

    def polling(client: FlashLightningClient) -> Any:
        return replace(real(client), listening=Listening.POLLING, reason="because")

    monkeypatch.setattr(FlashLightningClient, "health", property(polling))
    ended = await cli("demo", "--server-kind", "accept")
    assert ended.status == 1
    assert "the subscription did not come about: because" in ended.err


async def test_other_invoice_than_the_paid_one_is_a_failure(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The news must be about the invoice that was paid."""

    def pay_another(sandbox: Sandbox, bolt11: str) -> str:
        sandbox.announce(decode(bolt11).payment_hash)
        return "00"

    async def confused(_listener: Any) -> LightningInvoice:
        paid, amount = LightningInvoiceStatus.PAID, LightMoney.from_sat(1000)
        now = datetime.now(UTC)
        return LightningInvoice(
            id="0" * 64,
            payment_hash="0" * 64,
            bolt11="",
            status=paid,
            expires_at=now,
            amount=amount,
            amount_received=amount,
            paid_at=now,
        )

    monkeypatch.setattr(Sandbox, "pay", pay_another)
    monkeypatch.setattr("flash_driver.settlements.listeners.FlashInvoiceListener.wait_invoice", confused)
    ended = await cli("demo", "--server-kind", "accept")
    assert ended.status == 1
    assert "another invoice than the one paid" in ended.err


async def test_client_of_another_driver_is_a_failure(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """If `type=flash` belongs to somebody else, the demonstration is of no use and says so."""

    class Other:
        def __init__(self, client: LightningClient) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            await self._client.aclose()

    class Factory:
        def create(self, text: str) -> Other:
            return Other(LightningClientFactory().create(text))

    monkeypatch.setattr(demo_module, "LightningClientFactory", Factory)
    ended = await cli("demo", "--server-kind", "accept")
    assert ended.status == 1
    assert "a client of another driver" in ended.err


async def test_marks_are_plain_where_there_are_no_others(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """An output in ASCII gets plain marks and no QR code, and nothing breaks."""
    monkeypatch.setattr("rich.console.Console.encoding", "ascii")
    ended = await cli("demo", "--server-kind", "accept")
    assert ended.status == 0
    assert "+ settled" in ended.out
    assert ended.out.isascii()
