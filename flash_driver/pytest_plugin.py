"""A pytest plugin: the fixture `flash_sandbox` gives each test a Flash server of its own.

It is found by entry point where this package is installed with the extra `sandbox`; nothing has to be configured:

    async def test_shop(flash_sandbox):
        client = LightningClientFactory().create(flash_sandbox.connection_string)
        invoice = await client.create_invoice(LightMoney.from_sat(1000), "coffee", timedelta(minutes=1))
        flash_sandbox.pay(invoice.bolt11)

    @pytest.mark.flash_sandbox(ws_mutations="decline")
    def test_on_a_server_like_the_public_one(flash_sandbox): ...

The server runs in a thread with an event loop of its own, so synchronous tests can use it as well.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flash_driver.sandbox.server import Sandbox

__all__ = ["RunningSandbox", "flash_sandbox", "pytest_configure"]

_LONGEST_SECONDS: Final = 10.0

T = TypeVar("T")


class RunningSandbox:
    """A sandbox in a thread of its own.

    Attributes:
        connection_string: The line that a host is configured with.
        control: The URL of the control endpoint.
        server: The URL of GraphQL over HTTP.
        token: The session token of the account.
        api_key: The API key of the account.

    """

    def __init__(self, sandbox: Sandbox, loop: asyncio.AbstractEventLoop) -> None:
        self._sandbox = sandbox
        self._loop = loop
        self.connection_string = sandbox.connection_string
        self.control = sandbox.control
        self.server = sandbox.server
        self.token = sandbox.token
        self.api_key = sandbox.api_key

    def pay(self, bolt11: str, *, msat: int | None = None) -> str:
        """Pay an invoice of the sandbox from outside; give back its preimage.

        Args:
            bolt11: The invoice.
            msat: What to pay, in millisatoshi, where the invoice leaves that to the payer.

        Raises:
            LookupError: The sandbox did not make it.
            NotPayableError: It is paid already, or expired.

        """
        return self._call(lambda: self._sandbox.pay(bolt11, msat=msat))

    def foreign_invoice(self, msat: int | None = None) -> str:
        """Return the BOLT11 of another node, to be paid by the account; without `msat` its payer chooses."""
        return self._call(lambda: self._sandbox.foreign_invoice(msat)).payment_request

    def arm(self, kind: str, **details: Any) -> None:
        """Arm a fault, as the control endpoint does."""
        self._call(lambda: self._sandbox.arm(kind, **details))

    def ledger(self) -> dict[str, Any]:
        """Return what really happened: invoices, payments, balances, and how often each operation was asked for."""
        return self._call(self._sandbox.ledger_snapshot)

    def _call(self, work: Callable[[], T]) -> T:
        async def there() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(_LONGEST_SECONDS)


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker."""
    config.addinivalue_line(
        "markers", "flash_sandbox(**options): what kind of Flash server `flash_sandbox` is (SandboxOptions)"
    )


@pytest.fixture
def flash_sandbox(request: pytest.FixtureRequest) -> Iterator[RunningSandbox]:
    """Give a Flash server that lives as long as the test."""
    from flash_driver.sandbox.options import SandboxOptions  # noqa: PLC0415 - pytest loads this plugin for everybody
    from flash_driver.sandbox.server import Sandbox  # noqa: PLC0415 - as above

    marker = request.node.get_closest_marker("flash_sandbox")
    sandbox = Sandbox(SandboxOptions(**(marker.kwargs if marker else {})))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="flash sandbox", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(_LONGEST_SECONDS)
        try:
            yield RunningSandbox(sandbox, loop)
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.aclose(), loop).result(_LONGEST_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LONGEST_SECONDS)
        loop.close()
