from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.support.order import longest_first

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = Path(__file__).parents[1]


def item(name: str, limit: float | None = None) -> pytest.Item:
    """Return what the order looks at of a test: its file and its time limit."""
    marker = None if limit is None else pytest.mark.timeout(limit).mark
    return cast("pytest.Item", SimpleNamespace(path=TESTS / name, get_closest_marker=lambda _: marker))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(["a/x.py", "b/y.py"], ["a/x.py", "b/y.py"], id="others keep their places"),
        pytest.param(["a/x.py", "b/y.py 300", "c/z.py 400"], ["c/z.py 400", "b/y.py 300", "a/x.py"], id="long first"),
        pytest.param(["a/x.py 60"], ["a/x.py 60"], id="as long as any"),
        pytest.param(["a/x.py", "b/test_lnbits.py 600", "c/z.py 300"], ["c/z.py 300", "b/test_lnbits.py 600", "a/x.py"],
                     id="what waits for an installation"),
        pytest.param(["a/x.py", "root.py"], ["root.py", "a/x.py"], id="whole programs"),
        pytest.param(["a/x.py", "b/y.py::1", "b/y.py::2"], ["b/y.py::1", "b/y.py::2", "a/x.py"], id="many tests"),
        pytest.param(["a/x.py 300", "b/y.py::1", "b/y.py::2"], ["a/x.py 300", "b/y.py::1", "b/y.py::2"],
                     id="long before many"),
    ],
)  # fmt: skip
def test_files_that_take_long_come_first(given: Sequence[str], expected: Sequence[str]) -> None:
    """No long file is begun last, when the other processes have nothing left to do."""
    items = {name: item(re.split(" |::", name)[0], *map(float, name.split()[1:])) for name in given}
    assert longest_first(items.values()) == [items[name] for name in expected]


def test_a_file_stays_in_one_piece() -> None:
    """Tests of one file keep their order beside each other, also if only one of them takes long."""
    items = [item("a/x.py"), item("b/y.py"), item("a/x.py", 300), item("b/y.py")]
    assert longest_first(items) == [items[0], items[2], items[1], items[3]]
