"""No float comes near the money: shown by reading the source of every module that handles amounts.

A division is the one operator that makes a float of two whole numbers, and types are not to be seen in a syntax tree.
So each function that divides is listed here with what it divides; a new one has to be looked at, and added.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    "connection_strings/bolt11",
    "flash_driver/bolt11",
    "flash_driver/invoices",
    "flash_driver/money",
    "flash_driver/payments",
)
MONEY = (
    "connection_strings/money.py",
    "flash_driver/money/decimals.py",
    "flash_driver/common/exact_json.py",
    "flash_driver/flash_api/replies.py",
    "flash_driver/journal/journal.py",
    *(str(path.relative_to(ROOT)) for room in ROOMS for path in sorted((ROOT / room).glob("*.py"))),
)
DIVIDES_DECIMALS = {
    "amount_search.AmountSearch.__init__",
    "amount_search.AmountSearch._inside",
    "order._fee_limit",
    "preparation.Costs.insist_on_fee_limit",
    "price_history.PriceHistory.change",
    "price_history.plausible_change",
    "rate_model.Interval.middle",
    "rate_model.RateTheory._judge",
    "rate_model.RateTheory.caution",
    "rate_model.School.judge",
    "rate_model.Sighting.__init__",
    "rate_book.RateBook._credible",
    "rate_book.RateBook.paid_msat",
    "rate_book.RateBook.quote",
    "rate_book.RateBook.to_msat",
    "sending_rate.SendingRate.learn",
    "sending_rate.SendingRate.quote",
    "server_price.ServerPrice.fee_msat",
    "server_price._follows",
}
WITH_TIMEOUTS = {
    "attempt",
    "attempt_store",
    "budget",
    "lookup",
    "order",
    "preparation",
    "recovery",
    "sending",
    "service",
}
"""Modules that also hand time-outs, which are floats, to asyncio: only calls of `float` and divisions count."""
FLOATS = {"float", "total_seconds", "timestamp", "isclose", "fsum", "random", "uniform", "getcontext"}
"""Names that give floats, or that depend on the context the host has set."""


def functions(tree: ast.AST, name: str) -> list[tuple[str, ast.AST]]:
    """Return each function or method with its dotted name; the module itself stands for what is in none."""
    found: list[tuple[str, ast.AST]] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((f"{name}.{node.name}", node))
        elif isinstance(node, ast.ClassDef):
            found += functions(node, f"{name}.{node.name}")
        else:
            found.append((name, node))
    return found


def is_division(node: ast.AST) -> bool:
    """Whether this divides with `/`."""
    return isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)


def is_float(node: ast.AST) -> bool:
    """Whether this is a number such as 1.5."""
    return isinstance(node, ast.Constant) and isinstance(node.value, float | complex)


def is_called(tree: ast.AST, name: ast.AST) -> bool:
    """Whether a name stands for `float` where it is called."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(called is name and getattr(name, "id", "") == "float" for called in calls)


def names_seconds(tree: ast.AST) -> bool:
    """Whether this is a constant whose name says that it counts seconds."""
    return isinstance(tree, ast.AnnAssign) and isinstance(tree.target, ast.Name) and "SECONDS" in tree.target.id


def offences(source: str, module: str) -> list[str]:
    """Say what in a module makes, or may make, a float."""
    found = []
    for name, tree in functions(ast.parse(source), module):
        for node in ast.walk(tree):
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            word = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if is_division(node) and name not in DIVIDES_DECIMALS:
                found.append(f"{where} a division")
            elif word in FLOATS and (module not in WITH_TIMEOUTS or is_called(tree, node)):
                found.append(f"{where} the name {word}")
            elif is_float(node) and module not in WITH_TIMEOUTS and not names_seconds(tree):
                found.append(f"{where} a number that is a float")
    return found


@pytest.mark.parametrize("path", MONEY)
def test_no_float_in_money_code(path: str) -> None:
    """No float literal, no call that gives a float, and no division but those listed, all of decimals."""
    assert offences((ROOT / path).read_text(), Path(path).stem) == []


def test_list_of_divisions_is_true() -> None:
    """Each function that is listed as dividing does so: the list holds nothing that is gone."""
    dividing = {
        name
        for path in MONEY
        for name, tree in functions(ast.parse((ROOT / path).read_text()), Path(path).stem)
        if any(is_division(node) for node in ast.walk(tree))
    }
    assert dividing == DIVIDES_DECIMALS


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("rate = 1.5", "a number that is a float"),
        ("RATE: Final = 1.5", "a number that is a float"),
        ("def f(a): return float(a)", "the name float"),
        ("class C:\n    def f(self, a): return a / 2", "a division"),
        ("def f(a):\n    a /= 2", "a division"),
        ("def f(t): return t.total_seconds()", "the name total_seconds"),
    ],
)
def test_reader_finds_what_it_looks_for(source: str, found: str) -> None:
    """The reader of the source is no better than what it notices."""
    (offence,) = offences(source, "example")
    assert offence.endswith(found)
