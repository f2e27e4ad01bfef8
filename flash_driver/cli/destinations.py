"""Asks a payee behind a Lightning address or LNURL-pay link for an invoice (LUD-06, LUD-16)."""

import asyncio
import json
from typing import Any, Final

import aiohttp

from connection_strings.destination import PayLink, check_payee_invoice, read_destination, read_pay_terms
from connection_strings.errors import BackendUnavailable, InvalidReply
from connection_strings.money import LightMoney
from flash_driver.cli.failures import BadUsage

__all__ = ["bolt11_of"]

_SECONDS: Final = 10.0
_LONGEST_ANSWER: Final = 64 * 1024


def bolt11_of(destination: str, amount: LightMoney | None) -> str:
    """Return the BOLT11 to pay: the one given, or one over this amount that the payee makes now.

    Raises:
        BadUsage: A payee has to be asked, and no amount is given.
        InvalidRequest: It can't be paid, or the payee does not accept the amount.
        InvalidReply: The payee's server answers something else than was asked for.
        BackendUnavailable: The payee's server can't be reached.

    """
    meant = read_destination(destination)
    if not isinstance(meant, PayLink):
        return meant
    if amount is None:
        raise BadUsage("--amount is needed: a Lightning address or LNURL leaves it to the payer")
    return asyncio.run(_ask(meant, amount.msat))


async def _ask(payee: PayLink, amount_msat: int) -> str:
    try:
        async with asyncio.timeout(_SECONDS), aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            terms = read_pay_terms(await _get(session, payee.url))
            return check_payee_invoice(await _get(session, terms.invoice_url(amount_msat)), amount_msat, terms)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        why = {"payee's server": type(error).__name__}
        raise BackendUnavailable("asking the payee for an invoice", why, executed=False) from None


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False) as response:
        body = await response.content.read(_LONGEST_ANSWER)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise InvalidReply(f"the payee's server answers no JSON (HTTP {response.status})")
    return answer
