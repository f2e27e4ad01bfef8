"""Asks for several invoices in one document or in as many messages; see `aliasing.py`."""

from __future__ import annotations

import time
from asyncio import gather
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import INVOICE_CREATE_USD, Document
from flash_driver.flash_api.outcomes import Answer, Kind
from flash_driver.transports.base import perform
from flash_driver.transports.websocket.transport import SocketTransport
from tests.benchmarks.children import obey, tell
from tests.benchmarks.ways import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.flash_api.documents import Operation

_PATIENCE: Final = 30.0
_FIELD: Final = "lnUsdInvoiceCreate"


async def carry_out(order: Mapping[str, Any]) -> None:
    """Ask once to have everything loaded and connected, then that many times over; tell what one time took."""
    transport = SocketTransport(Address(order["server"], order["websocket"], order["token"]).endpoint)
    asked = {"walletId": order["wallet_id"], "amount": Decimal(100), "memo": "coffee", "expiresIn": 1}
    operations = [INVOICE_CREATE_USD(input=asked) for _ in range(order["count"])]
    if order["way"] == "aliasing":
        operations = [_aliased(order["count"])(input=asked)]
    try:
        await _perform(transport, operations)
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(order["times"]):
            assert await _perform(transport, operations) == order["count"]
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    finally:
        await transport.aclose()
    tell(milliseconds=took / order["times"] * 1e3, client_cpu=cpu / order["times"] * 1e3)


async def _perform(transport: SocketTransport, operations: list[Operation]) -> int:
    """Send them all at once, and count the invoices that come back."""
    deadline = Deadline.after(_PATIENCE)
    evidence = await gather(*(perform(transport, operation, deadline) for operation in operations))
    payloads = [payload for each in evidence if isinstance(each, Answer) for payload in (each.data or {}).values()]
    return sum(payload["invoice"] is not None for payload in payloads)


def _aliased(count: int) -> Document:
    """Return one document with that many mutations, each under a name of its own."""
    fields = "\n".join(
        f"i{number}: {_FIELD}(input: $input) {{ errors {{ message code }} invoice {{ paymentRequest paymentHash }} }}"
        for number in range(count)
    )
    source = f"mutation InvoicesCreate($input: LnUsdInvoiceCreateInput!) {{ {fields} }}"
    return Document("InvoicesCreate", Kind.CREATE, source)


if __name__ == "__main__":
    obey(carry_out)
