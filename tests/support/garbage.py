"""What the tests are read into is looked through for garbage once, and not again by each test that collects some.

Reading the tests leaves 400,000 objects that stay until the end. Python's collector goes through all of them meanwhile
again and again, and each `gc.collect()` of a test takes a fifth of a second for them.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["KeepsWhatWasRead"]


class KeepsWhatWasRead:
    """Collects no garbage while pytest reads the tests, and afterwards none of what was there by then."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Leave to the collector only what the tests make."""
        gc.disable()
        try:
            return (yield)
        finally:
            gc.enable()
            gc.freeze()
