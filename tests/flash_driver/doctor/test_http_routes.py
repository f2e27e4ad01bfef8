from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from flash_driver.doctor.findings import Examination, Result
from flash_driver.doctor.http_routes import check_clock, check_price, check_wallet
from flash_driver.settings.account import FlashSettings
from flash_driver.transports.http import HttpTransport
from tests.flash_driver.doctor.servers import http_server

if TYPE_CHECKING:
    from flash_driver.doctor.findings import Check


def telling(date: str | None) -> Any:
    """Make a server that tells this time."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={} if date is None else {"Date": date})
        return web.Response(text="{}", headers=response.headers)

    return answer


async def clock(answer: Any) -> Check:
    """Check the clock against a server."""
    examination = Examination(5)
    async with http_server(answer) as url:
        await check_clock(examination, url, None, reachable=True)
    (check,) = examination.checks
    return check


@pytest.mark.parametrize(("seconds", "words"), [(-100, "ahead of"), (100, "behind")])
async def test_wrong_clock_is_told(seconds: int, words: str) -> None:
    """A clock that is off by more than a few seconds fails, with the direction and what to do."""
    check = await clock(telling(format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)))
    assert check.result is Result.FAIL
    assert words in check.found
    assert "NTP" in check.advice


async def test_right_clock() -> None:
    """A clock that agrees passes."""
    assert (await clock(telling(format_datetime(datetime.now(UTC), usegmt=True)))).passed


async def test_server_without_a_clock() -> None:
    """A date that is none can't be compared."""
    check = await clock(telling("yesterday"))
    assert (check.result, check.found) == (Result.SKIPPED, "the server does not tell its time")


async def test_clock_of_nobody() -> None:
    """A server that can't be asked tells no time."""
    examination = Examination(5)
    await check_clock(examination, "http://127.0.0.1:1/", None, reachable=True)
    await check_clock(examination, "http://127.0.0.1:1/", None, reachable=False)
    assert [check.found for check in examination.checks] == ["the server does not tell its time", "nobody to ask"]


async def test_clock_takes_no_longer_than_its_check() -> None:
    """A server that takes its time runs out of it."""

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    examination = Examination(0.3)
    async with http_server(hang) as url:
        await check_clock(examination, url, None, reachable=True)
    assert examination.checks[0].result is Result.FAIL


def price(value: object) -> Any:
    """Make a server that tells this price."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": {"realtimePrice": value}})

    return answer


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"timestamp": 1, "btcSatPrice": {"base": 0, "offset": 6}}, "the server's number is no price"),
        ("odd", "the server's answer has no usable realtimePrice"),
    ],
)
async def test_price_that_is_none(value: object, found: str) -> None:
    """A number that can't be a price fails; invoices can be made all the same."""
    examination = Examination(5)
    async with http_server(price(value)) as url:
        await check_price(examination, HttpTransport(url, {}))
    assert examination.checks[0].found == found
    assert "invoices can still be made" in examination.checks[0].advice


async def test_account_without_a_wallet() -> None:
    """An account that can't receive is told from a wrong key in the string."""
    examination = Examination(5)
    account = {"me": {"defaultAccount": {"id": "a", "defaultWalletId": "w", "wallets": []}}}
    settings = FlashSettings.model_validate({"token": "ory_st_x"})
    assert not await check_wallet(examination, account, settings)
    assert "no wallet" in examination.checks[0].found
    assert "open the Flash app" in examination.checks[0].advice
