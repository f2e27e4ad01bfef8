"""Asks a payee behind a Lightning address or LNURL-pay link for an invoice (LUD-06, LUD-16)."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from connection_strings import payee
from connection_strings.destination import PayLink, read_destination
from connection_strings.errors import BackendUnavailable
from connection_strings.money import LightMoney
from flash_driver.cli.failures import BadUsage

__all__ = ["bolt11_of"]


def bolt11_of(destination: str, amount: LightMoney | None, comment: str) -> str:
    """Return the BOLT11 to pay: the one given, or one over this amount that the payee makes now.

    Raises:
        BadUsage: A payee has to be asked, and no amount is given.
        InvalidRequest: It can't be paid, or the payee does not accept the amount or the comment.
        InvalidReply: The payee's server answers something else than was asked for.
        BackendUnavailable: The payee's server can't be reached.

    """
    if amount is None and isinstance(read_destination(destination), PayLink):
        raise BadUsage("--amount is needed: a Lightning address or LNURL leaves it to the payer")
    return asyncio.run(_resolve(destination, amount, comment))


async def _resolve(destination: str, amount: LightMoney | None, comment: str) -> str:
    try:
        return await payee.bolt11_of(destination, amount, _ask, comment=comment)
    except (aiohttp.ClientError, OSError) as error:
        why = {"payee's server": type(error).__name__}
        raise BackendUnavailable("asking the payee for an invoice", why, executed=False) from None


async def _ask(url: str) -> AsyncGenerator[bytes, None]:
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        async for chunk in response.content.iter_any():
            yield chunk
