"""What some tests need from outside Python; without it they are skipped, but not in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["missing", "need_program"]


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, and {what} is missing")
    pytest.skip(f"{what} is missing")


def need_program(name: str) -> str:
    """Return the path of a program."""
    return shutil.which(name) or missing(f"the program {name}")
