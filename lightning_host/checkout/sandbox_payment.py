"""Paying with the money of a sandbox: for the "pay" button of demos and tests, never where money is real."""

from __future__ import annotations

from typing import Final

import aiohttp

from lightning_host.web.problems import ProblemError

__all__ = ["pay_in_sandbox"]

_SECONDS: Final = 10.0


async def pay_in_sandbox(control: str, bolt11: str) -> None:
    """Have the sandbox pay an invoice of its own.

    Raises:
        ProblemError: It does not (409), or can't be reached (503).

    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.post(f"{control}/pay", json={"payment_request": bolt11}, allow_redirects=False) as response,
        ):
            paid = response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise ProblemError.make(503, "sandbox-unavailable", "the sandbox can't be reached") from None
    if not paid:
        raise ProblemError.make(409, "not-payable", "this invoice can't be paid any more; go back and try again")
