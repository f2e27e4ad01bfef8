from __future__ import annotations

import re
import socket
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import typer

import flash_driver.sandbox as sandbox_package
from flash_driver.cli.whole import app
from flash_driver.sandbox import Sandbox, SandboxOptions
from tests.flash_driver.cli.commands import CANARY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flash_driver.cli.commands import Commands

KEYS = ["connection_string", "server", "websocket", "token", "api_key", "wallet_id", "control"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[SandboxOptions]:
    """Let the command's server end as soon as it is ready; give the options that it was started with."""
    options: list[SandboxOptions] = []

    async def run(given: SandboxOptions, *, on_ready: Callable[[Sandbox], None]) -> None:
        options.append(given)
        async with Sandbox(given) as sandbox:
            on_ready(sandbox)

    monkeypatch.setattr(sandbox_package, "run_sandbox", run)
    return options


async def test_ready_line_is_all_there_is(cli: Commands, served: list[SandboxOptions]) -> None:
    """With --json exactly one line of JSON with the seven keys is written, and nothing else."""
    ended = await cli("sandbox", "--port", "0", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert list(ended.json) == KEYS
    assert ended.json["token"].startswith("ory_st_")
    assert served[0] == SandboxOptions()


async def test_help_names_every_option_in_full(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns no option is cut, and no line is longer."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = (await cli("sandbox", "--help")).out
    commands: Any = typer.main.get_command(app)
    options = [option for parameter in commands.commands["sandbox"].params for option in parameter.opts]
    assert len(options) > 20
    assert [option for option in options if not re.search(rf" {option}[ ,\n]", shown)] == []
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80


async def test_options_reach_the_server(cli: Commands, served: list[SandboxOptions]) -> None:
    """Every option is handed on."""
    text = (
        "--port 0 --host localhost --ws-mutations close --http-bearer reject --public-host example.test --router "
        "--rate-limit off --max-complexity 500 --api-key fk_x "
        "--username shop --phone +1555 --phone-code 111111 --totp-code 222222 "
        "--wallets usdt,USD --cutover IN_PROGRESS "
        "--migration MOVING --api-key-scopes read:user,admin --api-key-limit 12 --network signet "
        "--custodian-seconds 2 --display-currency JMD "
        "--external-wallet --btc-wallet --balance-cents 12.5 --usd-per-btc 50000 --spread 0.01 "
        "--drift-percent-per-minute -1 "
        "--price-tick-seconds 5 --invoice-expiry-seconds 90 --invoice-unit sat --invoice-rounding up "
        "--description-hash honour --send-fee-percent 2"
    )
    ended = await cli("sandbox", *text.split(), "--json")
    assert ended.status == 0
    assert served == [
        SandboxOptions(
            host="localhost",
            ws_mutations="close",
            http_bearer="reject",
            public_host="example.test",
            router=True,
            rate_limit="off",
            max_complexity=500,
            username="shop",
            phone="+1555",
            phone_code="111111",
            totp_code="222222",
            api_key="fk_x",
            wallets=("USDT", "USD"),
            cutover="IN_PROGRESS",
            migration="MOVING",
            api_key_scopes=("read:user", "admin"),
            api_key_limit=12,
            network="signet",
            custodian_seconds=2,
            display_currency="JMD",
            external_wallet=True,
            btc_wallet=True,
            balance_cents=Decimal("12.5"),
            usd_per_btc=Decimal(50000),
            spread=Decimal("0.01"),
            drift_percent_per_minute=Decimal(-1),
            price_tick_seconds=5,
            invoice_expiry_seconds=90,
            invoice_unit="sat",
            invoice_rounding="up",
            description_hash="honour",
            send_fee_percent=Decimal(2),
        )
    ]
    assert "example.test" in ended.json["server"]


async def test_token_may_come_from_the_environment(
    capsys: pytest.CaptureFixture[str], served: list[SandboxOptions], monkeypatch: pytest.MonkeyPatch, cli: Commands
) -> None:
    """A fixed token for several processes need not stand in the process list."""
    monkeypatch.setenv("FLASH_SANDBOX_TOKEN", CANARY)
    ended = await cli("sandbox", "--port", "0")
    cli.said.clear()  # a sandbox shows its own token, that is what it is for
    assert served[0].token == CANARY
    assert f"token={CANARY}" in ended.out
    assert capsys.readouterr().out == ""


async def test_welcome_says_how_to_go_on(cli: Commands, served: list[SandboxOptions]) -> None:
    """A person gets the string to export and the command that pays."""
    ended = await cli("sandbox", "--port", "0")
    assert len(served) == 1
    assert "export FLASH_CONNECTION_STRING='type=flash;" in ended.out
    assert "/control/pay" in ended.out
    assert ended.err == ""


async def test_other_machines_are_a_warning(
    cli: Commands, served: list[SandboxOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox that is not bound to loopback says that its control endpoint has no password."""
    monkeypatch.setattr(SandboxOptions, "loopback", False)
    ended = await cli("sandbox", "--port", "0")
    assert len(served) == 1
    assert "other machines can reach it" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wallets", "EUR"], "a wallet's currency must be one of"),
        (["--rate-limit", "often"], ""),
        (["--spread", "much"], "--spread takes a number"),
        (["--ws-mutations", "sometimes"], "--ws-mutations"),
        (["--port", "70000"], "--port"),
    ],
)
async def test_odd_options_are_refused(
    cli: Commands, served: list[SandboxOptions], arguments: list[str], words: str
) -> None:
    """An option that makes no sense is a mistake of usage."""
    ended = await cli("sandbox", *arguments)
    assert ended.status == 2
    assert words in ended.err
    assert served == []


async def test_taken_port_is_one_line(cli: Commands, served: list[SandboxOptions]) -> None:
    """A port that is in use is told in words, with the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = await cli("sandbox", "--port", str(port), "--json")
    assert len(served) == 1
    assert ended.status == 1
    assert ended.json["error"]["kind"] == "not-listening"
    assert f"port {port}" in ended.json["error"]["message"]


async def test_reader_of_the_ready_line_may_be_gone(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there to read the ready line is no trouble with the port."""

    async def run(*_arguments: Any, **_options: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sandbox_package, "run_sandbox", run)
    monkeypatch.setattr("flash_driver.cli.app.os.dup2", lambda *_: None)
    assert (await cli("sandbox", "--port", "0")).status == 141


async def test_missing_extra_is_named(cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the server's library one line says what to install."""

    async def run(*_arguments: Any, **_options: Any) -> None:
        raise ModuleNotFoundError("no", name="strawberry")

    monkeypatch.setattr(sandbox_package, "run_sandbox", run)
    ended = await cli("sandbox", "--port", "0")
    assert ended.status == 1
    assert "pip install '.[sandbox]' in the project's folder" in ended.err
