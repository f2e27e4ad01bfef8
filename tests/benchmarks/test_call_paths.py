"""The three ways through the code stay as short as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Final

import pytest

MOST: Final = {"create_invoice": (323, 145), "settlement": (180, 104), "pay": (229, 127)}
"""Functions entered and changes of module: what was counted in November 2026, and a fifth more."""


@pytest.mark.timeout(300)
def test_ways_do_not_grow() -> None:
    """One warm invoice, one settlement and one payment enter few functions, and change module seldom.

    Counted in a process of its own: what other tests have left in this one is no part of the ways.
    """
    command = [sys.executable, "-m", "tests.benchmarks.call_paths"]
    environment = {**os.environ, "FLASH_JOURNAL_URL": "memory:"}
    found = json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, timeout=100).stdout)
    longer = {
        way: (found[way]["calls"], found[way]["changes"])
        for way, (calls, changes) in MOST.items()
        if found[way]["calls"] > calls or found[way]["changes"] > changes
    }
    assert longer == {}
