"""In which order processes that share the work take the files: what takes long comes first, so that none waits for it.

pytest-xdist hands out one file after the other. Would it begin a long one last, the other cores had nothing to do.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import pytest

__all__ = ["longest_first"]

_TESTS: Final = Path(__file__).parents[1]
_LONG_SECONDS: Final = 100.0
"""Tests that may take so long say so; whatever else is in their file is no matter."""
_WAITS_FOR_LNBITS: Final = frozenset({"test_lnbits.py", "test_create.py"})


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests, file by file.

    First come the files with tests that may take long (`pytest.mark.timeout`), then those that need LNbits, which has
    been installed meanwhile, then those at the root, which start whole programs, then all others, those with many tests
    before those with few: many short ones take long, too.
    """
    files: defaultdict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        files[item.path].append(item)
    ordered = sorted(files, key=lambda path: _rank(path, files[path]))
    return [item for path in ordered for item in files[path]]


def _rank(path: Path, items: Collection[pytest.Item]) -> tuple[int, float]:
    if path.name in _WAITS_FOR_LNBITS:
        return 1, 0.0
    longest = max((_limit(item) for item in items), default=0.0)
    if longest > _LONG_SECONDS:
        return 0, -longest
    return (2, 0.0) if path.parent == _TESTS else (3, -len(items))


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return 0.0 if marker is None else float(marker.args[0])
