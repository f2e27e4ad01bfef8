"""`make check` runs the tests of what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.changed import mirrored_tests

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = ["tests/test_architecture.py", "tests/test_readme.py"]


def test_a_module_has_its_mirrored_test(tmp_path: Path) -> None:
    """A changed module leads to its own test, else to the folder's; a changed test to itself; a text to none."""
    for name in (*ALWAYS, "tests/house/room/test_table.py", "tests/house/room/test_chair.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert mirrored_tests(["house/room/table.py"], tmp_path) == ["tests/house/room/test_table.py", *ALWAYS]
    assert mirrored_tests(["house/room/lamp.py"], tmp_path) == ["tests/house/room", *ALWAYS]
    assert mirrored_tests(["tests/house/room/test_chair.py", "docs/text.md"], tmp_path) == [
        "tests/house/room/test_chair.py",
        *ALWAYS,
    ]
    assert mirrored_tests(["gone/away.py"], tmp_path) == ALWAYS
