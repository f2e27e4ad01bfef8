from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import connection_strings

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
MODULES = [f"connection_strings.{module.name}" for module in pkgutil.iter_modules(connection_strings.__path__)]

# Code outside this repository imports these names.
CONTRACT = {
    *("ConnectionString", "ConnectionStringError", "UnknownConnectionType", "Secret"),
    *("LightningClientFactory", "LightningConnectionStringHandler", "LightningClient", "LightningInvoiceListener"),
    *("LightMoney", "CreateInvoiceParams", "LightningInvoice", "LightningInvoiceStatus", "ListInvoicesParams"),
    *("PayInvoiceParams", "PayResponse", "PayDetails", "PayResult", "LightningPayment", "LightningPaymentStatus"),
    *("ListPaymentsParams", "LightningNodeInformation", "LightningNodeBalance", "LightningError", "NotSupported"),
    *("OnchainBalance", "OffchainBalance", "BalanceEstimate"),
}


def _defined(module: ModuleType) -> set[str]:
    """Return the public names that a module's own source defines, imports left out."""
    names: set[str] = set()
    for node in ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return {name for name in names if not name.startswith("_")}


SHOWS_OTHERS = {"connection_strings.lightning"}
"""Where names that have moved to a module of their own can still be imported from."""
DEFAULTS = {"DEFAULT_EXPIRY", "DEFAULT_SEND_TIMEOUT"}


@pytest.mark.parametrize("name", MODULES)
def test_all_of_each_module(name: str) -> None:
    """`__all__` names what the module defines for others: everything public, nothing else, nothing twice."""
    module = importlib.import_module(name)

    shown_as_before = set(module.__all__) - _defined(module)
    assert shown_as_before <= (set(connection_strings.__all__) | DEFAULTS if name in SHOWS_OTHERS else set())
    assert _defined(module) <= set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


def test_all_of_the_package() -> None:
    """`__all__` names every public name of the package, each once and in order, and each is there."""
    listed = connection_strings.__all__

    assert listed == sorted(connection_strings._HOMES)
    assert set(listed) <= set(dir(connection_strings))
    assert all(getattr(connection_strings, name).__name__ == name for name in listed)
    with pytest.raises(AttributeError, match="has no attribute 'Lightmoney'"):
        getattr(connection_strings, "Lightmoney")  # noqa: B009 - mypy would see through the plain form


def test_contract() -> None:
    """The names that the design fixes, and every error, can be imported from the package."""
    errors = importlib.import_module("connection_strings.errors")

    assert set(connection_strings.__all__) >= CONTRACT | set(errors.__all__)


def test_exported_names_are_those_of_the_modules() -> None:
    """A name means the same wherever it is imported from."""
    for name in MODULES:
        module = importlib.import_module(name)
        for public in set(module.__all__) & set(connection_strings.__all__):
            assert getattr(connection_strings, public) is getattr(module, public)


def _imported_by(statement: str) -> set[str]:
    """Return the modules that a statement brings into a fresh interpreter."""
    program = (
        f"import json, sys; before = set(sys.modules); {statement}; print(json.dumps([*set(sys.modules) - before]))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(json.loads(run.stdout))


def test_no_third_party_import() -> None:
    """Importing the package brings in the standard library and nothing else."""
    roots = {name.partition(".")[0] for name in _imported_by("import connection_strings")}

    assert roots - sys.stdlib_module_names == {"connection_strings"}


def test_light_import() -> None:
    """What only discovery or a misspelling needs is not imported with the package, nor for given handlers."""
    used = (
        "import connection_strings as c; c.ConnectionString.parse('type=x;a=b'); c.LightningClientFactory(handlers=[])"
    )

    assert not _imported_by(used) & {"importlib.metadata", "difflib", "urllib.parse", "asyncio", "socket", "logging"}


def test_import_loads_nothing_yet() -> None:
    """A host that imports the package pays for what it uses, when it uses it."""
    assert _imported_by("import connection_strings") & set(MODULES) == set()
    assert "connection_strings.lightning" not in _imported_by("from connection_strings import ConnectionString")


def test_typed() -> None:
    """Type checkers are told that the package is annotated."""
    assert (files("connection_strings") / "py.typed").is_file()
