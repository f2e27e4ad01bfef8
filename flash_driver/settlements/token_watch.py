"""Tells listeners when the token dies: a socket that is open goes on as if nothing were.

The server looks a token up when a socket is opened and when HTTP is asked, and at no other time (flash-server.md 1.3).
So where nothing else has shown for ten seconds that the token lives, the server is asked to look it up. Each time costs
the server a little, and an API key one request of its limit: so it is asked more seldom for a key, and where many
accounts of one process listen.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from connection_strings.errors import CredentialRejected, LightningError
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import ME
from flash_driver.transports.delivery import LOG_IN_AGAIN

if TYPE_CHECKING:
    from flash_driver.settlements.watched import WatchedAccount

__all__ = ["watch_token"]

_CONFIRM_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 45.0
"""How long a fresh socket may take to name the account: without a price, until the next tick (flash-server.md 3.6)."""
_DOUBT_SECONDS: Final = 15.0
"""For how long a doubt is looked into again and again before the usual pause is kept."""

_SPREAD: Final = 0.8
"""The shortest pause between two looks, as a share of the usual one: what begins together comes apart."""

_log: Final = get_logger(part="watcher")


async def watch_token(account: WatchedAccount) -> None:
    """Watch until the token is dead.

    Raises:
        CredentialRejected: It is dead; invoices made before are asked about all the same.

    """
    with account.token_looks.one():
        await _watch(account)


async def _watch(account: WatchedAccount) -> None:
    session, timing = account.router.session, account.timing
    if session.dead:  # a new listener may mean that the session was renewed
        await session.confirm(Deadline.after(_CONFIRM_SECONDS), again=True)
    looked_at = _now()
    while True:
        doubted = session.doubted_seconds
        if doubted is not None and doubted < _DOUBT_SECONDS:
            interval = timing.token_doubted
        else:
            usual = timing.token_seldom if account.pays_for_looks else account.token_looks.pause(timing)
            interval = usual * random.uniform(_SPREAD, 1.0)  # noqa: S311 - no secret
        quiet = min(session.unproved_seconds, _now() - looked_at)
        if await session.dies_within(max(0.0, interval - quiet)):
            raise CredentialRejected(f"the server refuses the token; {LOG_IN_AGAIN}")
        if min(session.unproved_seconds, _now() - looked_at) >= interval:
            looked_at = _now()
            await _look(account)


async def _look(account: WatchedAccount) -> None:
    """Have the server look the token up: over HTTP where the token is taken there, else by a fresh socket."""
    session, begun_at = account.router.session, _now()
    by_http = session.taken_by_http
    if by_http:
        await _ask(account)
    if session.dead or session.unproved_seconds <= _now() - begun_at:
        return
    await session.confirm(Deadline.after(_LOOK_SECONDS), again=True)
    if not by_http and session.doubted_seconds is not None and not session.dead:
        await _ask(account)  # sockets alone are no proof


async def _ask(account: WatchedAccount) -> None:
    try:
        delivery = await account.router.perform(ME(), Deadline.after(account.timing.ask))
        delivery.data("looking the token up")
    except LightningError as error:
        _log.debug("the token could not be looked up now", why=str(error))


def _now() -> float:
    return asyncio.get_running_loop().time()
