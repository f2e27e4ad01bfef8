"""A headless Chromium, driven over its DevTools protocol: just enough of it to look at a page as a person would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

__all__ = ["Chromium", "Page", "running_chromium"]

MISSING: Final = "Chromium is not there (Debian: apt-get install chromium)"
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_SECONDS: Final = 30.0


def chromium_binary() -> str | None:
    """Return the path of a Chromium, None when there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab.

    Attributes:
        requests: The URL of everything it has asked for.
        troubles: What it said on the console as an error or warning, exceptions, and dialogs that opened.

    """

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.requests: list[str] = []
        self.troubles: list[str] = []
        self.loaded = asyncio.Event()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol."""
        return await self._browser.call(method, parameters, session=self._session)

    async def goto(self, url: str) -> None:
        """Open a URL and wait until it is loaded."""
        self.loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(_SECONDS):
            await self.loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript, as if a person had caused it; gives its value."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is truthy, also across a navigation."""
        try:
            async with asyncio.timeout(_SECONDS):
                while True:
                    with contextlib.suppress(AssertionError, RuntimeError):
                        if await self.evaluate(f"Boolean({condition})"):
                            return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            shown = await self.evaluate("`${location.href}\\n${document.body.innerText}`")
            raise AssertionError(f"{condition} never came true on {shown}") from None

    async def text(self, selector: str) -> str:
        """Return what a person reads in an element."""
        return str(await self.evaluate(f"document.querySelector({selector!r}).innerText"))

    async def shown(self, selector: str) -> bool:
        """Whether a person sees an element."""
        return bool(await self.evaluate(f"document.querySelector({selector!r}).getClientRects().length > 0"))

    async def click(self, selector: str) -> None:
        """Click on the middle of an element with the mouse."""
        find = f"document.querySelector({selector!r})"
        await self.evaluate(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = await self.evaluate(f"{find}.getBoundingClientRect().toJSON()")
        middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **middle)

    async def look(self, *, width: int, height: int, dark: bool = False, phone: bool = False, scale: int = 2) -> None:
        """Take another window size and colour scheme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path: Path) -> None:
        """Keep what a person sees as a PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))  # noqa: ASYNC240 - a test waits for nothing else

    def tell(self, method: str, event: dict[str, Any]) -> None:
        """Take an event of the protocol."""
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.troubles.append(str(event["args"]))
        elif method == "Runtime.exceptionThrown":
            self.troubles.append(str(event["exceptionDetails"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.troubles.append(f"{event['entry']['text']} {event['entry'].get('url')}")
        elif method == "Page.javascriptDialogOpening":
            self.troubles.append(f"dialog: {event['message']}")


class Chromium:
    """A running browser, as one test sees it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._contexts: list[str] = []

    @classmethod
    @asynccontextmanager
    async def connect(cls, debugger: str) -> AsyncIterator[Self]:
        """Drive a browser that runs while the block runs; whatever was opened is closed afterwards."""
        async with aiohttp.ClientSession() as session, session.ws_connect(debugger, max_msg_size=0) as socket:
            browser = cls(socket)
            reading = asyncio.create_task(browser._read())
            try:
                yield browser
                for context in browser._contexts:
                    await browser.call("Target.disposeBrowserContext", {"browserContextId": context})
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def page(self) -> Page:
        """Open a tab, in a context of its own: no cookie of another test is in it."""
        context = (await self.call("Target.createBrowserContext", {}))["browserContextId"]
        self._contexts.append(context)
        made = {"url": "about:blank", "browserContextId": context}
        target = await self.call("Target.createTarget", made)
        attached = await self.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        return page

    async def allow_clipboard(self, origin: str) -> None:
        """Let pages of an origin use the clipboard, as a person who presses keys may."""
        granted = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": origin}
        for context in self._contexts:
            await self.call("Browser.grantPermissions", {**granted, "browserContextId": context})

    async def call(self, method: str, parameters: dict[str, Any], *, session: str | None = None) -> dict[str, Any]:
        """Call a method and wait for its answer."""
        number = next(self._ids)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        await self._socket.send_json(message)
        async with asyncio.timeout(_SECONDS):
            result: dict[str, Any] = await answered
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            waiting = self._waiting.pop(told.get("id", 0), None)
            if waiting is not None and not waiting.done():
                if "error" in told:
                    waiting.set_exception(RuntimeError(told["error"]["message"]))
                else:
                    waiting.set_result(told["result"])
            elif (page := self._pages.get(told.get("sessionId", ""))) is not None:
                page.tell(told.get("method", ""), told.get("params", {}))


@contextlib.contextmanager
def running_chromium(folder: Path) -> Iterator[str]:
    """Run a browser with a profile of its own while the block runs; gives the URL that it is driven by.

    Where there is none the test is skipped, but never in CI.
    """
    if (binary := chromium_binary()) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [binary, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield _debugger(folder)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def _debugger(folder: Path) -> str:
    """Wait until the browser has written down where it can be driven."""
    written = folder / "DevToolsActivePort"
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        lines = written.read_text().split() if written.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise RuntimeError("Chromium does not say where it can be driven")
