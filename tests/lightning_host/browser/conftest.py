"""One browser for all tests of this folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lightning_host.browser.chromium import MISSING, Chromium, chromium_binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.lightning_host.browser.chromium import Page


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """Give a tab of a new browser; skipped where there is none, but never in CI."""
    if chromium_binary() is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    folder = tmp_path / "chromium"
    folder.mkdir()
    async with Chromium.start(folder) as browser:
        yield await browser.page()
