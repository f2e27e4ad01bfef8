"""The shape of the house: who may import whom, what the packages show, how long a module may be."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import connection_strings
import flash_driver
import lightning_host

ROOT = Path(__file__).parents[1]
PACKAGES = (connection_strings, flash_driver, lightning_host)
MAY_IMPORT = {
    "connection_strings": {"connection_strings"},
    "flash_driver": {"flash_driver", "connection_strings"},
    "lightning_host": {"lightning_host", "connection_strings"},
}
LAYERS = {
    "flash_driver": (
        "_version common",
        "flash_api bolt11",
        "money",
        "journal",
        "settings",
        "transports",
        "wallets",
        "knowledge",
        "invoices payments",
        "settlements",
        "accounts",
        "client",
        "handler",
        "doctor",
        "cli pytest_plugin",
    ),
    "lightning_host": (
        "allowance client_address credentials logs tasks",
        "settings",
        "settings_help database",
        "stores",
        "invoices budgets client_limits",
        "settlements",
        "rotation",
        "host",
        "web",
        "greenfield lnurl",
        "phoenixd checkout",
        "webhooks",
        "flashcards",
        "monitoring",
        "merchant",
        "server",
        "cli",
    ),
}
"""The rooms of each house, from the ground up: a room imports rooms of lower layers only (docs/architecture.md)."""
SOURCES = sorted(path for house in MAY_IMPORT for path in (ROOT / house).rglob("*.py"))
MODULES = sorted(
    name
    for package in PACKAGES
    for name in (
        package.__name__,
        *(found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")),
    )
    if not name.endswith("__main__")
)


@functools.cache
def imported_modules(path: Path) -> frozenset[str]:
    """Return the dotted names that a file imports, wherever in it, for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def imported_roots(path: Path) -> set[str]:
    """Return the top-level names that a file imports, wherever in it."""
    return {name.partition(".")[0] for name in imported_modules(path)}


def test_imports_point_one_way() -> None:
    """A driver and a host know the contract and not each other; the contract knows neither."""
    wrong = {
        str(path.relative_to(ROOT)): foreign
        for path in SOURCES
        if (foreign := imported_roots(path) & set(MAY_IMPORT) - MAY_IMPORT[path.relative_to(ROOT).parts[0]])
    }
    assert wrong == {}


@pytest.mark.parametrize("house", LAYERS)
def test_rooms_import_downwards(house: str) -> None:
    """A room imports rooms of lower layers only, for type checkers too; nothing imports the package's own face."""
    rank = {room: number for number, layer in enumerate(LAYERS[house]) for room in layer.split()}
    wrong = []
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        room = path.relative_to(ROOT).parts[1].removesuffix(".py") if path.relative_to(ROOT).parts[0] == house else ""
        if not room or room in {"__init__", "__main__", "sandbox"}:
            continue
        assert room in rank, f"{name}: a new room needs its layer"
        for module in imported_modules(path):
            parts = module.split(".")
            if parts[0] != house or len(parts) == 1 or parts[1] in {room, "sandbox"} or parts[1] not in rank:
                continue
            if rank[parts[1]] >= rank[room]:
                wrong.append(f"{name} imports {module}")
    assert wrong == []


def test_sandbox_stands_apart() -> None:
    """The sandbox imports nothing of the driver, so that it can't share the driver's mistakes."""
    sandbox = [path for path in SOURCES if "sandbox" in path.relative_to(ROOT).parts[:2]]
    imported = set().union(*(imported_modules(path) for path in sandbox))
    own = {name for name in imported if name.startswith("flash_driver.")}
    allowed = ("flash_driver.sandbox.", "flash_driver.common.")
    assert {name for name in own if not name.startswith(allowed)} == set()


def test_no_circles() -> None:
    """No two modules import each other, directly or by way of others, for type checkers too."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}
    homes = {
        name: {found if found in names else found.rpartition(".")[0] for found in imported_modules(path)}
        for name, path in names.items()
    }
    graph = {name: (found & names.keys()) - {name} for name, found in homes.items()}
    assert circles(graph) == []


def circles(graph: dict[str, set[str]]) -> list[frozenset[str]]:
    """Return the groups of names that reach each other."""

    def reach(name: str) -> set[str]:
        seen: set[str] = set()
        todo = [name]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reached = {name: reach(name) for name in graph}
    return [
        frozenset(each for each in reached if each in reached[name] and name in reached[each])
        for name in graph
        if name in reached[name]
    ]


def test_contract_needs_nothing_from_outside() -> None:
    """The contract imports the standard library only."""
    roots = set().union(*(imported_roots(path) for path in SOURCES if "connection_strings" in path.parts))
    assert roots - set(sys.stdlib_module_names) == {"connection_strings"}


def test_host_names_no_driver() -> None:
    """The host finds drivers by entry point; none of its files names Flash."""
    written = [path for path in (ROOT / "lightning_host").rglob("*.*") if path.parent.name != "__pycache__"]
    assert [path for path in written if "flash_driver" in path.read_text(errors="ignore")] == []


def test_one_bolt11_reader_serves_all() -> None:
    """Every house reads BOLT11 with the contract's reader; the packages `bolt11` and `bech32` are for tests."""
    roots = set().union(*(imported_roots(path) for path in SOURCES))
    assert roots & {"bolt11", "bitstring", "bech32"} == set()
    assert "coincurve" in roots


def test_all_tells_the_truth() -> None:
    """What a module lists exists, and what it defines without an underscore is listed."""
    wrong = {}
    for name in MODULES:
        module = importlib.import_module(name)
        listed = list(getattr(module, "__all__", ()))
        public = {key for key, value in vars(module).items() if is_public(key, value, name)}
        missing = [key for key in listed if not hasattr(module, key)]
        if missing or not public <= set(listed) or len(listed) != len(set(listed)):
            wrong[name] = (missing, public - set(listed))
    assert wrong == {}


def is_public(key: str, value: object, module: str) -> bool:
    """Whether a module defines this class or function for others."""
    defined = (isinstance(value, type) or inspect.isfunction(value)) and value.__module__ == module
    return defined and not key.startswith("_")


def test_modules_stay_small() -> None:
    """No module is longer than a reader takes in: 500 lines at most."""
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > 500} == {}


@pytest.mark.parametrize("package", ["connection_strings", "flash_driver"])
def test_import_is_light(package: str) -> None:
    """Importing a package loads no third-party module: a host lists its drivers without paying for them."""
    code = f"import sys; before = set(sys.modules); import {package}; print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    roots = {name.partition(".")[0] for name in run.stdout.split()}
    assert roots - set(sys.stdlib_module_names) <= {package, "connection_strings", "__editable__"}


def test_import_configures_no_logging() -> None:
    """Importing the whole driver leaves structlog and logging as the host set them."""
    code = (
        "import logging, structlog, flash_driver.client; "
        "print(structlog.is_configured(), len(logging.getLogger('flash_driver').handlers), logging.root.handlers)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.split() == ["False", "0", "[]"]
