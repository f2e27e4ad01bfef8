"""Every block of README and docs is run by a test, or stands here with the reason why not.

Blocks of Python are compiled in tests/test_docs.py and run there, here, or in tests/flash_driver/test_pytest_plugin.py.

A block that is neither fails `test_every_block_is_accounted_for`: write it into the table that fits.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import typer

from connection_strings import ConnectionString, ConnectionStringError, LightMoney, LightningClientFactory, Secret
from flash_driver.cli import main as flash_driver
from flash_driver.cli.whole import app
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from flash_driver.settings.process import ProcessSettings
from lightning_host.cli import main as lightning_host
from lightning_host.database import Database
from lightning_host.settings_help import unknown_variables
from tests.flash_driver.cli.commands import Commands
from tests.flash_driver.cli.test_invoices import payable
from tests.flash_driver.cli.test_login import CODE, PHONE, code_is_sent
from tests.lightning_host.needs import need_program
from tests.support.journals import open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.driver import Bench

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "examples" / "README.md", *(ROOT / "docs").glob("*.md")])
MADE_BY_A_COMMAND: Final = {"command-line.md"}
"""Compared with what makes it in tests/test_docs.py."""

RUN: Final = {
    "flash-driver login --out flash.txt": "test_from_a_phone_to_a_payment",
    "flash-driver doctor --file flash.txt": "test_from_a_phone_to_a_payment",
    "flash-driver invoice create 1000 --file flash.txt --wait": "test_from_a_phone_to_a_payment",
    "flash-driver api-key create shop --file flash.txt --out shop.txt": "test_from_a_phone_to_a_payment",
    "flash-driver api-key list --file flash.txt": "test_from_a_phone_to_a_payment",
    "flash-driver api-key revoke ID --file flash.txt": "test_from_a_phone_to_a_payment",
    "flash-driver payment list --unknown": "test_a_payment_is_settled_by_hand",
    "flash-driver payment get HASH": "test_a_payment_is_settled_by_hand",
    'flash-driver payment settle HASH --paid --reason "seen in the Flash app"': "test_a_payment_is_settled_by_hand",
    "flash-driver journal backup /backup/journal.sqlite3": "test_both_databases_are_copied",
    "lightning-host backup /backup/host.sqlite3": "test_both_databases_are_copied",
    """curl -s localhost:4010/control/pay -d '{"payment_request": "lnbcrt..."}'""": "test_the_sandbox_is_controlled",
    """curl -s localhost:4010/control/cutover -d '{"state": "IN_PROGRESS", "migration": "MOVING"}'""": (
        "test_the_sandbox_is_controlled"
    ),
    (
        "curl -s localhost:4010/control/fault -d "
        """'{"kind": "close", "when": "after_execute", "operation": "lnInvoicePaymentSend"}'"""
    ): "test_the_sandbox_is_controlled",
}
"""Commands that a test of this module runs, as they stand there; it puts real values for the words in capitals."""

ELSEWHERE: Final = {
    "make run": "tests/flash_driver/cli/test_demo.py runs the command behind it",
    "make host": "tests/flash_driver/cli/test_host.py runs the command behind it",
    "make test": "it is what runs this",
    "make btcpay-demo": "needs the images of BTCPay Server",
    "make btcpay": "needs BTCPay Server",
    'make btcpay-soak SOAK="--seed 7"': "needs BTCPay Server, and five minutes",
    "flash-driver sandbox --port 4010": "tests/flash_driver/cli/test_sandbox.py, on a free port",
    "docker/make-secrets": "tests/docker/test_compose.py",
    "./make-secrets": "tests/docker/test_production.py",
    "cd docker/production": "a folder",
    "cd docker/btcpay": "a folder",
    "cp .env.example .env": "docker/production-test reads the file",
    "docker compose up --detach --build": "docker/production-test, in `make compose-test`",
    "docker/make-secrets && docker compose -f docker/compose.yaml up --build": "docker/compose-test",
    "docker compose -f docker/compose.yaml --profile monitoring up --build": "needs images of Prometheus and Grafana",
    "docker compose -f compose.yaml -f monitoring.yaml --profile monitoring up --detach": "the same",
    "lightning-host merchant-link": "tests/lightning_host/merchant",
    "lightning-host merchant-link --store bakery --minutes 30": "tests/lightning_host/merchant",
    (
        "curl -H 'Authorization: token KEY' -H 'Content-Type: application/json' -d '{\"expirySeconds\": 1800}' "
        "https://pay.example.com/api/v1/stores/shop/merchant-links"
    ): "tests/lightning_host/merchant",
    "export NEW_JOURNAL_URL='postgresql://journal:PASSWORD@db.example/journal'": "a variable",
    "flash-driver journal copy FLASH_JOURNAL_URL NEW_JOURNAL_URL": "tests/flash_driver/cli/test_journals.py",
    "python examples/aiohttp_shop.py": "tests/examples/test_shops.py",
    """curl -s localhost:8000/orders -H 'Content-Type: application/json' -d '{"sat": 1000}'""": "the same",
    "curl -s localhost:8000/orders/ID": "the same",
    "export FLASH_CONNECTION_STRING='type=flash;server=http://127.0.0.1:4010/graphql;token=...;allowinsecure=true'": (
        "a variable"
    ),
}
"""Commands that are run elsewhere or can't be run in a test."""

NOT_COMMANDS: Final = {
    "type=flash;server=https://api.flashapp.me/graphql;token=": "test_connection_strings_are_read",
    "type=phoenixd;server=http://HOST:8080/;password=": "what BTCPay Server reads, in tests/btcpay",
    "LIGHTNING_HOST_CONNECTION_STRING_FILE=": "test_variables_are_read",
    "openssl rand -hex 32 > /run/secrets/flashcard_key": "test_variables_are_read, and openssl is not ours",
    "LNBITS_BACKEND_WALLET_CLASS=": "tests/lightning_host/test_lnbits.py sets these",
    "attempting WebSocket": "what is logged: tests/flash_driver/transports/test_call_log.py",
    "fell back to HTTP": "the same",
    "minor units per satoshi": "a formula: tests/flash_driver/money/test_server_price.py",
    "pay.example.com {": "for Caddy, which docker/production-test runs with the same directives",
    "location / {": "for nginx, which is not here",
    "[Unit]": "test_the_unit_names_what_there_is",
    '[project.entry-points."connection_strings.handlers"]': "as in tests/lightning_host/test_other_driver.py",
    "flowchart": "a drawing",
    "sequenceDiagram": "a drawing",
    "stateDiagram": "a drawing",
}
"""Blocks that are no commands, by how they begin."""

_COMMAND: Final = re.compile(
    r"(?:flash-driver|lightning-host|make|docker|docker/\S+|\./\S+|curl|cd|cp|export|python) ?"
)


def blocks(path: Path) -> Iterator[str]:
    """Give each block that is no Python, without its indentation."""
    text = path.read_text()
    for language, code in re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        if language != "python":
            yield code
    without = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    for block in re.findall(r"(?<=\n\n)(?:(?: {4}|\t)[^\n]*\n(?:\n(?= {4}))?)+", without):
        if not re.match(r" {4,}[-*|] ", block):
            yield "\n".join(line.strip() for line in block.splitlines())


def commands(block: str) -> list[str]:
    """Return the commands of a block, comments left out; none if it is not one of commands."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    found = [re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip()]
    return found if all(_COMMAND.match(line) for line in found) else []


ALL = [(path.name, block) for path in DOCUMENTS if path.name not in MADE_BY_A_COMMAND for block in blocks(path)]
COMMANDS = [(name, command) for name, block in ALL for command in commands(block)]


def test_every_block_is_accounted_for() -> None:
    """Each is run, or says why not; and nothing stands in the tables that stands in no document any more."""
    known = RUN.keys() | ELSEWHERE.keys()
    assert [each for each in COMMANDS if each[1] not in known] == []
    others = [(name, block) for name, block in ALL if not commands(block)]
    assert [each for each in others if not each[1].lstrip().startswith(tuple(NOT_COMMANDS))] == []
    assert known - {command for _, command in COMMANDS} == set()
    assert all(name in globals() for name in RUN.values())


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if path.name not in MADE_BY_A_COMMAND], ids=lambda path: path.name
)
def test_what_is_named_in_passing_exists(path: Path) -> None:
    """Options of commands, targets of make, and variables, wherever they are named, are there."""
    text = path.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    for line in re.findall(r"`flash-driver ([^`]+)`", text):
        _check_options(shlex.split(line.replace("\n", " ")))
    names = set(re.findall(r"\b(LIGHTNING_HOST_[A-Z_]+[A-Z])\b", text))
    assert unknown_variables(names) == []
    process = {f"FLASH_{name.upper()}" for name in ProcessSettings.model_fields}
    named = set(re.findall(r"`(FLASH_[A-Z_]+[A-Z])[`=]", text))
    assert {name for name in named if not name.startswith("FLASH_SANDBOX_")} <= process | {
        "FLASH_CONNECTION_STRING",
        "FLASH_JOURNAL_URL_FILE",
        "FLASH_JOURNAL_ULR",
    }


def _check_options(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version", "-V"}
    assert [word for word in words if word.startswith("--") and word.partition("=")[0] not in known] == []


def test_connection_strings_are_read() -> None:
    """Each that is shown is one."""
    for _, block in ALL:
        if block.startswith("type="):
            string = ConnectionString.parse(block.strip())
            if string.type == "flash":
                assert LightningClientFactory().create(string).connection_string.get("token")


def test_variables_are_read() -> None:
    """Each variable of the host that is set is one."""
    for _, block in ALL:
        if not commands(block):
            assert unknown_variables(re.findall(r"^([A-Z_]+)=", block, re.MULTILINE)) == []


def test_the_unit_names_what_there_is() -> None:
    """Every line of the unit is `Key=value` under a section, and what it runs takes its options."""
    (unit,) = [block for _, block in ALL if block.startswith("[Unit]")]
    assert all(re.fullmatch(r"\[\w+\]|[A-Z]\w+=\S.*|", line) for line in unit.splitlines())
    (started,) = re.findall(r"^ExecStart=\S+/lightning-host(.*)", unit, re.MULTILINE)
    with pytest.raises(SystemExit) as ended:
        lightning_host([*started.split(), "--help"])
    assert ended.value.code == 0


def exec_python(document: str, number: int) -> dict[str, Any]:
    """Run a block of Python of a document; gives its names."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(found[number], document, "exec"), names)  # noqa: S102 - running what is written there is the test
    return names


@pytest.mark.parametrize(("document", "number"), [("sandbox.md", 0), ("testing.md", 1)])
async def test_programs_with_a_sandbox_run(document: str, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A sandbox in one's own process prints where it is."""
    await exec_python(document, number)["main"]()
    assert ConnectionString.parse(capsys.readouterr().out.strip()).type == "flash"


def test_the_handler_of_another_driver_is_one() -> None:
    """The handler names the key that is missing, and makes a client of the rest."""
    names = exec_python("drivers.md", 0)
    names["MyNodeClient"] = lambda secret: secret
    factory = LightningClientFactory([names["MyNodeHandler"]])
    with pytest.raises(ConnectionStringError, match="the key 'macaroon' is missing"):
        factory.create("type=mynode")
    assert repr(factory.create("type=mynode;macaroon=abc")) == "Secret('**********')"


def steps(test: str) -> list[str]:
    """Return the commands that a test runs, in the order of the documents."""
    found = list(dict.fromkeys(command for _, command in COMMANDS if RUN.get(command) == test))
    assert found, test
    return found


async def test_from_a_phone_to_a_payment(
    bench: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log in, look, sell, make a key and take it back, with the commands of the guide in their order."""
    monkeypatch.chdir(tmp_path)
    sandbox = await bench.sandbox()
    cli = Commands(capsys)
    await code_is_sent(sandbox)
    key_id = ""
    for step in steps("test_from_a_phone_to_a_payment"):
        words = [key_id if word == "ID" else word for word in shlex.split(step)[1:]]
        if words[0] == "login":
            words += ["--phone", PHONE, "--code", CODE, "--server", sandbox.server]
        running = asyncio.create_task(cli(*words))
        if "--wait" in words:
            sandbox.pay(await payable(sandbox))
        ended = await running
        assert ended.status == 0, f"{step}: {ended.err}"
        if words[:2] == ["api-key", "create"]:
            listed = (await cli("api-key", "list", "--file", "flash.txt", "--json")).json
            (key_id,) = [each["id"] for each in listed["api_keys"] if each["name"] == "shop"]


async def test_a_payment_is_settled_by_hand(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stays unknown is listed, looked at, and settled, as the page for operators says."""
    sandbox = await bench.sandbox()
    monkeypatch.setenv("FLASH_CONNECTION_STRING", sandbox.connection_string)
    cli = Commands(capsys)
    sandbox.arm("payment", outcome="ERROR", executed=True)
    signed = sandbox.foreign_invoice(50_000)
    assert (await cli("pay", signed.payment_request, "--yes")).status == 3
    for step in steps("test_a_payment_is_settled_by_hand"):
        ended = await cli(*[signed.payment_hash if word == "HASH" else word for word in shlex.split(step)[1:]])
        assert (ended.status, signed.payment_hash in ended.out or "settled by hand" in ended.out) == (0, True), step


async def test_both_databases_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the journal and one of the host's database are there afterwards."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", f"sqlite+aiosqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", f"sqlite:///{tmp_path}/host.db")
    async with aclosing(SqlStore(JournalUrl.parse(f"sqlite+aiosqlite:///{tmp_path}/journal.db"))) as store:
        await open_journal(store)
    await (await Database.open(Secret(f"sqlite:///{tmp_path}/host.db"))).aclose()
    (tmp_path / "backup").mkdir()
    programs = {"flash-driver": flash_driver, "lightning-host": lightning_host}
    for step in steps("test_both_databases_are_copied"):
        name, *words = shlex.split(step.replace(" /backup/", f" {tmp_path}/backup/"))
        assert programs[name](words) == 0
    assert {each.name for each in (tmp_path / "backup").iterdir()} == {"journal.sqlite3", "host.sqlite3"}


async def test_the_sandbox_is_controlled(bench: Bench) -> None:
    """What the guide does with curl is taken by a sandbox."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(LightMoney.from_sat(1000))
    for step in steps("test_the_sandbox_is_controlled"):
        words = [
            word.replace("localhost:4010/control", sandbox.control).replace("lnbcrt...", invoice.bolt11)
            for word in shlex.split(step)
        ]
        running = await asyncio.create_subprocess_exec(need_program("curl"), "--fail", *words[1:])
        assert await running.wait() == 0, step
    assert "PAID" in [each["status"] for each in sandbox.ledger_snapshot()["invoices"]]
