"""Asks the payee behind a Lightning address or an LNURL-pay link for an invoice: the address comes from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from connection_strings import BackendUnavailable, InvalidRequest
from connection_strings.bolt11.reader import read
from connection_strings.destination import PayLink, read_destination
from connection_strings.payee import bolt11_of
from lightning_host.web.public_network import ForbiddenAddressError, public_connector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from connection_strings import LightMoney
    from lightning_host.settings import HostSettings
    from lightning_host.web.bodies import Fields

__all__ = ["bolt11_to_pay", "read_payable"]


def read_payable(fields: Fields, name: str) -> str:
    """Read what somebody pasted to pay; whether this wallet can pay a BOLT11 is for the wallet to say."""
    text = fields.text(name)
    try:
        meant = read_destination(text)
        if not isinstance(meant, PayLink):
            read(meant)
    except InvalidRequest as error:
        fields.note(name, error.reason if text else "is missing")
    except ValueError as error:
        fields.note(name, f"is not a BOLT11 payment request ({error})")
    return text


async def bolt11_to_pay(  # noqa: PLR0917 - two callers, which have all of it at hand
    settings: HostSettings,
    fields: Fields,
    names: Mapping[str, str],
    destination: str,
    amount: LightMoney | None,
    comment: str = "",
) -> str:
    """Return the BOLT11 to pay: the one that a request names, or one over the amount that the payee makes now.

    Args:
        settings: How the host is set up.
        fields: The request.
        names: What it calls `destination`, `amount` and `comment`.
        destination: What `read_payable` has read.
        amount: What the payee is to get; needed where the payee has to be asked.
        comment: What the payee reads beside its invoice.

    Raises:
        ProblemError: The payee does not take such an amount or comment (422).
        InvalidReply: The payee's server answers something else than was asked for.
        BackendUnavailable: The payee's server can't be reached; nothing was sent.

    """

    async def ask(url: str) -> AsyncGenerator[bytes, None]:
        connector = public_connector(private=settings.payee_private_addresses)
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            async for chunk in response.content.iter_any():
                yield chunk

    try:
        return await bolt11_of(destination, amount, ask, comment=comment)
    except InvalidRequest as error:
        fields.refuse(names.get(error.field, error.field), error.reason)
    except (aiohttp.ClientError, OSError) as error:
        why = {"payee's server": _reason(error)}
        raise BackendUnavailable("asking the payee for an invoice", why, executed=False) from None


def _reason(error: Exception) -> str:
    forbidden = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(forbidden, ForbiddenAddressError):
        return "it has a private address, where no payee may be"
    return f"it can't be asked ({type(error).__name__})"
