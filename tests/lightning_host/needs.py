"""What some tests need from outside Python; without it they are skipped, but not in CI."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from typing import Any, NoReturn

import pytest

__all__ = ["missing", "need_lnurl", "need_program"]


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, and {what} is missing")
    pytest.skip(f"{what} is missing")


def need_lnurl() -> Any:
    """Return the PyPI package `lnurl`, which has no release for Python 3.13."""
    if sys.version_info >= (3, 13):
        pytest.skip("lnurl has no release for Python 3.13")
    try:
        return importlib.import_module("lnurl")
    except ImportError:
        missing("the PyPI package lnurl")


def need_program(name: str) -> str:
    """Return the path of a program."""
    return shutil.which(name) or missing(f"the program {name}")
