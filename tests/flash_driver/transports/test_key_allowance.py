"""The limit of an API key: learned, shared by processes, and left to invoices first."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningInvoiceStatus
from flash_driver.flash_api.outcomes import Answer, Quota
from flash_driver.settings.process import ProcessSettings
from flash_driver.transports.http import read_quota, read_reply
from tests.support.driver import operations
from tests.support.timing import SHORT, account_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")
STATUS = "lnInvoicePaymentStatus"
MINUTE = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({"X-RateLimit-Limit": "12", "X-RateLimit-Remaining": "3"}, Quota(12, 3, MINUTE)),
        (
            {
                "X-RateLimit-Limit": "12",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "1767225630",
                "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
            },
            Quota(12, 0, timedelta(seconds=30)),
        ),
        ({"X-RateLimit-Limit": "12", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1"}, Quota(12, 3, MINUTE)),
        ({"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "3"}, None),
        ({"X-RateLimit-Limit": "-1", "X-RateLimit-Remaining": "3"}, None),
        ({"X-RateLimit-Limit": "9" * 5000, "X-RateLimit-Remaining": "3"}, None),
        ({}, None),
    ],
)
def test_what_headers_tell(headers: dict[str, str], quota: Quota | None) -> None:
    """Limit and rest are read off the headers; when all is there again, by the server's clock, within a minute."""
    assert read_quota(headers) == quota


def test_what_a_refusal_tells_without_headers() -> None:
    """A gateway may drop the headers: the refusal itself names the limit."""
    body = {
        "data": None,
        "errors": [
            {
                "message": "API key rate limit exceeded",
                "extensions": {"code": "TOO_MANY_REQUESTS", "rateLimit": {"limit": 12, "remaining": 0}},
            }
        ],
    }
    evidence = read_reply(200, {}, json.dumps(body).encode())
    assert isinstance(evidence, Answer)
    assert evidence.quota == Quota(12, 0, MINUTE)


async def open_shop(bench: Bench, sandbox: Sandbox, folder: Path) -> FlashLightningClient:
    """Return a client of a process of its own: all have the journal in common, and none asks in public."""
    text = f"type=flash;server={sandbox.server};token={sandbox.api_key};allowinsecure=true;transports=http"
    process = ProcessSettings.model_validate(
        {"journal_url": f"sqlite+aiosqlite:///{folder}/journal.db", "invoice_budget": None}
    )
    return await bench.client(text, process=process, timing=SHORT)


def stopped(shop: FlashLightningClient) -> bool:
    """Whether it asks nothing in the background for now."""
    return "kept for invoices and payments" in (account_of(shop).listeners.watcher._polling.trouble or "")


async def test_processes_leave_room_for_invoices(bench: Bench, tmp_path: Path) -> None:
    """However fast two processes poll, together they stop in time: an invoice can be made, and looked up, at once."""
    sandbox = await bench.sandbox(api_key_limit=40)
    shops = [await open_shop(bench, sandbox, tmp_path) for _ in range(2)]
    listeners = [await shop.listen() for shop in shops]
    for shop in shops:
        await shop.create_invoice(COFFEE)
    await until(lambda: all(stopped(shop) for shop in shops))
    asked = operations(sandbox, STATUS)["http"]
    for shop in shops:
        invoice = await shop.create_invoice(COFFEE)
        found = await shop.get_invoice(invoice.id)
        assert found is not None
        assert found.status is LightningInvoiceStatus.UNPAID
    third = await open_shop(bench, sandbox, tmp_path)
    listeners.append(await third.listen())
    await until(lambda: stopped(third))
    assert asked <= 30
