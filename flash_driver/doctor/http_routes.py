"""The two ways over HTTP, and what is asked over whichever way works: wallet, price, clock."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from connection_strings.errors import ConnectionStringError, LightningError
from flash_driver.common.deadline import Deadline
from flash_driver.doctor.advice import in_words, route_advice
from flash_driver.doctor.findings import NotApplicable, Trouble
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import ME, PRICE
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Refused
from flash_driver.flash_api.replies import read_account, read_price
from flash_driver.transports.base import perform
from flash_driver.wallets import choose_wallet

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from flash_driver.doctor.findings import Examination
    from flash_driver.settings.account import FlashSettings
    from flash_driver.transports.base import Transport

__all__ = ["RouteFindings", "check_clock", "check_price", "check_wallet", "examine_route"]

_SLOW: Final = "the server is too slow to be of use now: try again in a few minutes"
_IN_PUBLIC: Final = (
    "works for receiving a fixed amount; the account comes by socket",
    "for amountless invoices and paying, should no way above take the token: make an API key in the Flash app",
)
_MOST_SECONDS_APART: Final = 10.0


@dataclass(slots=True)
class RouteFindings:
    """What one way over HTTP taught: the answer to the authenticated question, and whether the token counts."""

    account: Mapping[str, Any] | None = None
    authenticated: bool | None = None


async def examine_route(
    examination: Examination, name: str, transport: Transport, settings: FlashSettings
) -> RouteFindings:
    """Ask who we are over one of the ways."""
    findings = RouteFindings()
    async with examination.check(name, if_late=_SLOW) as row:
        # A little less than the check has, so that the transport says itself what kept it.
        evidence = await perform(transport, ME(), Deadline.after(examination.seconds * 0.9))
        outcome = classify(ME, evidence)
        match outcome:
            case Completed(data):
                findings.account, findings.authenticated = data, True
                row.found = "works, with the token"
                if transport.anonymous:
                    row.found, row.advice = _IN_PUBLIC
            case Refused():
                findings.authenticated = True  # refused in words of its own, so the token was looked at and taken
            case NotExecuted(cause=Cause.CREDENTIAL):
                findings.authenticated = False
        if not isinstance(outcome, Completed):
            raise Trouble(in_words(outcome), route_advice(settings.token_kind, evidence, outcome))
    await transport.aclose()
    return findings


async def check_wallet(examination: Examination, account: Mapping[str, Any] | None, settings: FlashSettings) -> bool:
    """Find the wallet that the connection string means."""
    async with examination.check("wallet", if_late=_SLOW) as row:
        if account is None:
            raise NotApplicable("nobody to ask: no way that knows the token answers questions")
        try:
            wallet = choose_wallet(read_account(account), settings)
        except ConnectionStringError as error:
            raise Trouble(str(error), "take the key out, and the account's default wallet is used") from None
        except LightningError as error:
            advice = "open the Flash app once and look whether the account has a wallet; else tell Flash"
            raise Trouble(str(error), advice) from None
        row.found = f"{wallet.id[:8]}..., {wallet.currency}, network {wallet.network or 'not told'}"
    return row.passed


async def check_price(examination: Examination, transport: Transport | None) -> None:
    """Read the server's price, over a way that works."""
    async with examination.check("price", if_late=_SLOW) as row:
        if transport is None:
            raise NotApplicable("nobody to ask")
        outcome = classify(PRICE, await perform(transport, PRICE(), Deadline.after(examination.seconds * 0.9)))
        advice = "invoices can still be made, with a second request each: the rate is learned from the first one"
        if not isinstance(outcome, Completed):
            raise Trouble(in_words(outcome), advice)
        try:
            tick = read_price(outcome.data)
        except LightningError as error:
            raise Trouble(str(error), advice) from None
        if tick is None:
            raise Trouble("the server's number is no price", advice)
        row.found = f"{tick.cents_per_sat * 1_000_000:,.2f} USD per bitcoin"
    if transport is not None:
        await transport.aclose()


async def check_clock(examination: Examination, url: str, tls: ssl.SSLContext | None, *, reachable: bool) -> None:
    """Compare this machine's clock with the `Date` of an anonymous answer (RFC 9110 6.6.1: whole seconds)."""
    async with examination.check("clock", if_late=_SLOW) as row:
        if not reachable:
            raise NotApplicable("nobody to ask")
        date = await _date(url, tls)
        if date is None:
            raise NotApplicable("the server does not tell its time")
        apart = (datetime.now(UTC) - date).total_seconds()
        if abs(apart) > _MOST_SECONDS_APART:
            way = "ahead of" if apart > 0 else "behind"
            advice = "set this machine's clock (NTP): invoices live 60 s, and hosts judge by it which have expired"
            raise Trouble(f"{abs(apart):,.0f} s {way} the server", advice)
        row.found = f"the server's, within {max(1, round(abs(apart)))} s"


async def _date(url: str, tls: ssl.SSLContext | None) -> datetime | None:
    try:
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(
                url, json={"query": "{ __typename }"}, allow_redirects=False, ssl=True if tls is None else tls
            ) as response,
        ):
            return email.utils.parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (aiohttp.ClientError, ValueError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
        return None
