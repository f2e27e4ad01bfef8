"""One browser for all tests of a file: it ends with them, since it works also where it has nothing to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lightning_host.browser.chromium import Chromium, running_chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.lightning_host.browser.chromium import Page


@pytest.fixture(scope="module")
def debugger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL that a browser is driven by; skipped where there is none, but never in CI."""
    with running_chromium(tmp_path_factory.mktemp("chromium")) as url:
        yield url


@pytest.fixture
async def page(debugger: str) -> AsyncIterator[Page]:
    """Give a tab of that browser, which shares nothing with those of other tests."""
    async with Chromium.connect(debugger) as browser:
        yield await browser.page()
