from __future__ import annotations

import pytest

from tests.benchmarks.children import Child, ChildFailed


def test_a_child_that_ends_is_a_failure() -> None:
    """Those who wait for a process that has ended hear of it at once, with its name."""
    with Child("this_module_is_not_there") as child, pytest.raises(ChildFailed, match="this_module_is_not_there"):
        child.ask(anything=1)


def test_a_silent_child_is_a_failure() -> None:
    """A process that says nothing is given up after the time that was set, and ended."""
    with Child("asyncio") as child, pytest.raises(ChildFailed, match="says nothing"):
        child.hear(0.01)
    assert child._process.returncode is not None
