"""What would be published: wheel and source archive are built, checked, and used where the sources are not."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both into a folder."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", str(folder), cwd=ROOT)
    return folder


def run(*command: str, cwd: Path) -> str:
    """Run a program that has to succeed, and return what it prints."""
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_an_index_would_take_it(built: Path) -> None:
    """Metadata and description are as an index wants them."""
    files = sorted(str(path) for path in built.iterdir())
    assert len(files) == 2
    assert "FAILED" not in run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=built)


def test_wheel_holds_what_it_needs(built: Path) -> None:
    """The three packages, their type markers, pages and licence are inside; tests are not."""
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for package in ("connection_strings", "flash_driver", "lightning_host"):
        assert f"{package}/py.typed" in names
    assert "lightning_host/static/checkout.js" in names
    assert "lightning_host/templates/checkout.html" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert [name for name in names if name.startswith("tests/")] == []


def test_source_archive_holds_tests_and_docs(built: Path) -> None:
    """Who builds from source gets the tests too, all that README names, and what the Makefile needs."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"Makefile", "docs/architecture.md", "docs/flash-server.md", "tests/test_distribution.py"} <= names
    linked = set(re.findall(r"\]\(([\w./-]+)[#)]", (ROOT / "README.md").read_text()))
    assert linked - names == set()
    assert {"examples/aiohttp_shop.py", ".ci/mkdocs.yml", ".ci/run"} <= names
    assert [name for name in names if ".venv" in name or "node_modules" in name] == []


def test_wheel_works_without_the_sources(built: Path, tmp_path: Path) -> None:
    """Unpacked anywhere, the driver is found by its entry point and makes a client."""
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path), cwd=built)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import flash_driver; "
        "assert flash_driver.__file__.startswith(sys.argv[1]), flash_driver.__file__; "
        "from connection_strings import LightningClientFactory; "
        "print(type(LightningClientFactory().create('type=flash;token=ory_st_x')).__name__)"
    )
    assert run(sys.executable, "-c", program, str(tmp_path), cwd=tmp_path).strip() == "FlashLightningClient"
