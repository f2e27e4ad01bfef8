"""The documents tell the truth: the site builds, links lead somewhere, code runs, commands exist."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from flash_driver.cli.whole import app
from lightning_host.server.api_table import API

if TYPE_CHECKING:
    from tests.support.driver import Bench

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "examples" / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> set[tuple[str, ...]]:
    """Return what is called of `flash-driver` in the indented blocks: the words before options and values."""
    lines = re.findall(r"^(?: {4}|\t).*?\bflash-driver ((?:[a-z][a-z-]*\s*)+)", text, re.MULTILINE)
    return {tuple(line.split()) for line in lines}


@pytest.mark.timeout(400)
def test_the_site_builds(tmp_path: Path) -> None:
    """The documentation builds without a warning, so no link in it leads nowhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", ".ci/mkdocs.yml"]
    ended = subprocess.run(
        [*command, "--site-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=380
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "reference" / "index.html").exists()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_in_the_documents_is_python(path: Path) -> None:
    """Each block of Python compiles."""
    for block in blocks(path.read_text(), "python"):
        compile(block, path.name, "exec")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_exist(path: Path) -> None:
    """Each `flash-driver` command that is shown is one."""
    root: Any = typer.main.get_command(app)
    for words in commands(path.read_text()):
        command = root
        for word in words:
            known = getattr(command, "commands", None)
            if known is None:
                break
            assert word in known, f"flash-driver {' '.join(words)}"
            command = known[word]


def test_every_path_of_the_host_is_in_the_table_for_proxies() -> None:
    """Who closes all that docs/operations.md does not call public closes nothing that payers need."""
    table = re.findall(r"^\| (`/.*?) \| .* \|$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    told = tuple(path for cell in table for path in re.findall(r"`(/[^`]*)`", cell))
    assert {path for _, path in API if not path.startswith((*told, "/demo"))} == {"/"}


def test_every_command_is_described() -> None:
    """docs/command-line.md is what the commands say of themselves; if not, write it again with the command below."""
    command = ["-m", "typer", "flash_driver.cli.whole", "utils", "docs", "--name", "flash-driver"]
    ended = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert (ROOT / "docs" / "command-line.md").read_text() == ended.stdout, f"python {' '.join(command)}"


async def test_the_program_in_the_guide_runs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """The first program of the guide for Python creates an invoice and hears of its payment."""
    sandbox = await bench.sandbox()
    names: dict[str, Any] = {}
    exec(compile(blocks((ROOT / "docs" / "python.md").read_text(), "python")[0], "python.md", "exec"), names)  # noqa: S102 - running the program is the test
    program = asyncio.create_task(names["main"](sandbox.connection_string))
    printed = ""
    async with asyncio.timeout(30):
        while not (shown := re.search(r"lnbcrt\w+", printed)):
            printed += capsys.readouterr().out
            await asyncio.sleep(0.01)
        sandbox.pay(shown[0])
        await program
    (paid,) = [each for each in sandbox.ledger_snapshot()["invoices"] if each["status"] == "PAID"]
    assert paid["payment_hash"] in capsys.readouterr().out
