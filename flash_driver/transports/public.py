"""The way that needs no consent of HTTP: the account by the socket, and everything else in public.

Some servers take a session token on the socket only, execute nothing there, and answer it with 401 over HTTP. Receiving
over a fixed amount is possible there all the same: the public mutation makes an invoice for any wallet, without a
credential (flash-server.md 11). It checks no ownership, so it is only ever given a wallet that this token's own account
has just named.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import (
    ACCOUNT,
    BALANCE,
    BALANCE_UPDATES,
    INVOICE_CREATE_ON_BEHALF,
    INVOICE_CREATE_USD,
    ME,
    NETWORK,
    NETWORK_AND_PRICE,
    Operation,
)
from flash_driver.flash_api.outcomes import Answer, Cause, Completed, Evidence, NotConnected
from flash_driver.flash_api.replies import read_own_wallet_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Document
    from flash_driver.transports.base import Late, Link, Transport
    from flash_driver.transports.session import Session

__all__ = ["PublicTransport"]

_FRESH_SECONDS: Final = 600.0
"""How old the account's own word on its wallets may be."""


class PublicTransport:
    """Receives in public.

    Args:
        below: HTTP without any credential.
        session: Says whose account this is.

    """

    name: Final = "public"
    prober: Final = None
    shows_credential: Final = False
    anonymous: Final = True
    counts_as: Final[Mapping[Document, Document]] = {INVOICE_CREATE_USD: INVOICE_CREATE_ON_BEHALF}
    """An account's own invoice becomes one on its behalf."""

    def __init__(self, below: Transport, session: Session) -> None:
        self._below = below
        self._session = session
        self._wallet_ids: frozenset[str] = frozenset()
        self._told_at = float("-inf")

    async def ready(self, deadline: Deadline) -> Link:
        """Return a link over an anonymous connection."""
        return _PublicLink(self, await self._below.ready(deadline))

    async def aclose(self) -> None:
        """Close the anonymous connections; the session belongs to others as well."""
        await self._below.aclose()

    async def perform(self, link: Link, operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:
        """Carry an operation as far as that is possible here."""
        document = operation.document
        if document.public:
            return await link.execute(operation, deadline)
        if document in {INVOICE_CREATE_USD, INVOICE_CREATE_ON_BEHALF}:
            return await self._create(link, operation, deadline, late)
        if document == BALANCE:
            return await self._session.ask(BALANCE_UPDATES, deadline)
        if document in {ME, ACCOUNT}:
            return await self._account(link, NETWORK_AND_PRICE if document == ACCOUNT else NETWORK, deadline)
        return NotConnected("not possible without the token over HTTP", Cause.UNSUITED)

    async def _account(self, link: Link, beside: Document, deadline: Deadline) -> Evidence:
        """Ask the socket for the account, and HTTP in public for what stands beside it."""
        told, more = await asyncio.gather(self._ask_account(deadline), link.execute(beside(), deadline))
        if not isinstance(told, Answer) or told.data is None:
            return told
        if not isinstance(more, Answer):
            return more
        return Answer({**(more.data or {}), **told.data}, [*told.errors, *more.errors])

    async def _ask_account(self, deadline: Deadline) -> Evidence:
        evidence = await self._session.account(deadline)
        if isinstance(outcome := classify(ME, evidence), Completed):
            self._wallet_ids = read_own_wallet_ids(outcome.data)
            self._told_at = asyncio.get_running_loop().time()
        return evidence

    async def _create(self, link: Link, operation: Operation, deadline: Deadline, late: Late | None) -> Evidence:
        asked = operation.variables["input"]
        terms = dict(asked) if isinstance(asked, dict) else {}
        wallet_id = str(terms.pop("walletId", None) or terms.pop("recipientWalletId", None))
        amount = terms.get("amount")
        if not isinstance(amount, int | Decimal) or amount <= 0:
            return NotConnected("an invoice in public needs an amount above zero", Cause.INVALID)
        young = asyncio.get_running_loop().time() - self._told_at <= _FRESH_SECONDS
        if not (young and self._session.holds_since(self._told_at) and wallet_id.lower() in self._wallet_ids):
            evidence = await self._ask_account(deadline)
            if not isinstance(classify(ME, evidence), Completed):
                return evidence
        if wallet_id.lower() not in self._wallet_ids:
            return NotConnected("the account does not name this wallet as its own", Cause.INVALID)
        spelled = replace(
            operation,
            document=INVOICE_CREATE_ON_BEHALF,
            variables={"input": {"recipientWalletId": wallet_id, **terms}},
        )
        written, asked_for = str(INVOICE_CREATE_ON_BEHALF.field), str(operation.document.field)

        def renamed(evidence: Evidence) -> Evidence:
            if isinstance(evidence, Answer) and evidence.data is not None and written in evidence.data:
                return replace(evidence, data={asked_for: evidence.data[written]})
            return evidence

        return renamed(await link.execute(spelled, deadline, late and (lambda evidence: late(renamed(evidence)))))


@dataclass(frozen=True, slots=True)
class _PublicLink:
    """One request to come, and the anonymous link that it may need."""

    transport: PublicTransport
    below: Link

    async def execute(self, operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:
        """Carry the operation as far as that is possible in public."""
        return await self.transport.perform(self.below, operation, deadline, late)
