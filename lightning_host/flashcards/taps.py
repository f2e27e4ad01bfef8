"""Taps, and the payments that they led to: the side of a card's ledger on which money leaves.

    open     The card was read; the terminal has a one-time code and may ask for one payment with it.
    paying   Amount and fee limit are taken off the balance; it is not known yet whether the money left.
    paid     Amount and fee have left; what was reserved beyond them is back.
    failed   Certainly nothing has left, and all that was reserved is back.

Each step is one transaction that begins by changing the tap's own row, under the condition that nobody has changed it
since. So it happens once, whatever replicas and repeated requests do, and the balance is at any time what was paid to
the card less what was paid with it and what is reserved. It is never negative.
"""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from connection_strings import LightMoney, Secret
from lightning_host.credentials import digest_of
from lightning_host.database import from_ms, metadata, now_ms, to_ms
from lightning_host.database.lists import newest_first
from lightning_host.flashcards.chips import host_flashcard_chips
from lightning_host.flashcards.limits import find_limits
from lightning_host.flashcards.table import host_flashcards
from lightning_host.webhooks.table import queue_event

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping, Select

    from lightning_host.database import Database
    from lightning_host.flashcards.chips import Chip
    from lightning_host.flashcards.limits import Limits
    from lightning_host.flashcards.sun import Sun

__all__ = [
    "LEAST",
    "DeclinedError",
    "Opened",
    "Tap",
    "TapStatus",
    "TapTable",
    "TerminalInvoice",
    "fee_limit",
    "most_payable",
    "taps_table",
]

LEAST: Final = LightMoney.from_sat(1)
"""Least amount of a payment."""

_FEE_PARTS: Final = 100
_LEAST_FEE: Final = LightMoney.from_sat(20)
_DAY: Final = timedelta(hours=24)
_CODE_LIFE: Final = timedelta(minutes=3)
_SENDING: Final = timedelta(minutes=2)
"""How long after a reservation its sender may still be about to pay; longer than it waits for the wallet."""

_FIRST_LOOK: Final = timedelta(seconds=2)
_FORGOTTEN_AFTER: Final = timedelta(days=1)
_AT_ONCE: Final = 100
_MS: Final = timedelta(milliseconds=1)

_taps: Final = Table(
    "host_flashcard_taps",
    metadata,
    Column("code_digest", String(64), primary_key=True),
    Column("store", String(64), nullable=False),
    Column("card", String(32), nullable=False),
    Column("chip", String(32), nullable=False),
    Column("status", String(8), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("bolt11", Text),
    Column("payment_hash", String(64)),
    Column("amount_msat", BigInteger),
    Column("reserved_msat", BigInteger),
    Column("charged_msat", BigInteger),
    Column("reason", Text),
    Column("reserved_at", BigInteger),
    Column("sender_until", BigInteger),
    Column("look_at", BigInteger),
    Column("ended_at", BigInteger),
    Index("host_flashcard_taps_by_card", "card", "reserved_at"),
    Index("host_flashcard_taps_by_look", "status", "look_at"),
    Index("host_flashcard_taps_by_end", "store", "status", "ended_at", "payment_hash"),
    Index(
        "host_flashcard_taps_by_payment",
        "store",
        "payment_hash",
        unique=True,
        sqlite_where=text("status IN ('paying', 'paid')"),
        postgresql_where=text("status IN ('paying', 'paid')"),
    ),
)
"""A payment hash is reserved for by one tap at a time: two cards never pay for one invoice."""

taps_table: Final = _taps
"""The same, for rooms that read it together with tables of their own."""


class TapStatus(enum.StrEnum):
    """Where a tap stands."""

    OPEN = "open"
    PAYING = "paying"
    PAID = "paid"
    FAILED = "failed"


class DeclinedError(Exception):
    """The card does not pay; the words are for the shop and for who holds the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """A tap.

    Attributes:
        code_digest: The digest of its one-time code.
        bolt11: What is paid with it, and the next three; None while it is open.
        charged: What left the card: amount and fee, as far as the wallet tells it; None until it is paid.
        reason: Why it failed, for anybody.
        sender_until: Until when the process that reserved may be about to pay.
        ended_at: When it was booked or given back.

    """

    code_digest: str
    store: str
    card: str
    chip: str
    status: TapStatus
    expires_at: datetime
    bolt11: str | None
    payment_hash: str | None
    amount: LightMoney | None
    reserved: LightMoney | None
    charged: LightMoney | None
    reason: str | None
    reserved_at: datetime | None
    sender_until: datetime | None
    ended_at: datetime | None

    @property
    def place(self) -> tuple[int | str, ...]:
        """Where it stands in a list, as `newest_first` has it; an open tap is in none."""
        return to_ms(self.reserved_at or self.expires_at), self.code_digest


@dataclass(frozen=True, slots=True)
class TerminalInvoice:
    """What a terminal wants to have paid: a BOLT11 in lower case, with the payment hash and amount that it names."""

    bolt11: str
    payment_hash: str
    amount: LightMoney


@dataclass(frozen=True, slots=True)
class Opened:
    """What a terminal is told about a tap.

    Attributes:
        code: The one-time code.
        most: Most that can be paid with it.
        pin_limit: From which amount on the PIN is needed; None without one.

    """

    code: Secret
    most: LightMoney
    pin_limit: LightMoney | None


def fee_limit(amount: LightMoney) -> LightMoney:
    """Return the most that a payment may cost beyond its amount: 1 %, at least 20 satoshi, and all there is at most."""
    return min(max(_LEAST_FEE, LightMoney.from_msat(-(-amount.msat // _FEE_PARTS))), LightMoney.MAX - amount)


def most_payable(balance: LightMoney) -> LightMoney:
    """Return the largest amount that a balance covers together with its fee limit."""
    both = (balance.msat - _LEAST_FEE.msat, balance.msat * _FEE_PARTS // (_FEE_PARTS + 1))
    return LightMoney.from_msat(max(0, min(both)))


class TapTable:
    """Writes and reads taps, and moves the money of their cards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, store_id: str, chip: Chip, sun: Sun) -> Opened:
        """Take in a tap: its counter must be above every one that was seen of the chip.

        The counter counts also when the card does not pay, so that what a reader has heard is good for nothing later.

        Raises:
            DeclinedError: The message was used before, the chip is another one or retired, or the card can't pay.

        """
        chips, code, now = host_flashcard_chips.c, Secret(secrets.token_hex(16)), now_ms()
        counted = (
            update(host_flashcard_chips)
            .where(chips.name == chip.name, chips.retired_at.is_(None), chips.counter < sun.counter)
            .where(or_(chips.uid.is_(None), chips.uid == sun.uid))
            .values(counter=sun.counter, uid=sun.uid)
        )
        row = {
            "code_digest": digest_of(code.reveal()),
            "store": store_id,
            "card": chip.card,
            "chip": chip.name,
            "status": TapStatus.OPEN,
            "expires_at": now + _CODE_LIFE // _MS,
        }

        def write(connection: Connection) -> tuple[Limits, LightMoney]:
            if connection.execute(counted).rowcount != 1:
                raise DeclinedError("this tap was used before; tap the card again")
            limits = find_limits(connection, chip.card)
            most = _most(connection, chip.card, limits)
            if not limits.frozen and most >= LEAST:
                connection.execute(insert(_taps), row)
            return limits, most

        limits, most = await self._database.write(write)
        if limits.frozen:
            raise DeclinedError("this card is frozen")
        if most < LEAST:
            raise DeclinedError("there is not enough on this card, or its limit for today is reached")
        return Opened(code, most, limits.pin_limit)

    async def find(self, code_digest: str) -> Tap | None:
        """Return a tap by the digest of its code."""
        found = await self._many(select(_taps).where(_taps.c.code_digest == code_digest))
        return found[0] if found else None

    async def reserve(self, tap: Tap, invoice: TerminalInvoice) -> bool:
        """Take amount and fee limit off the card for a payment that this caller is about to make.

        Returns:
            Whether this very call did it; else the tap is no longer open.

        Raises:
            DeclinedError: The card does not pay this; nothing was taken.

        """
        now, reserved = now_ms(), invoice.amount + fee_limit(invoice.amount)
        taken = (
            update(_taps)
            .where(_taps.c.code_digest == tap.code_digest, _taps.c.status == TapStatus.OPEN, _taps.c.expires_at > now)
            .values(
                status=TapStatus.PAYING,
                bolt11=invoice.bolt11,
                payment_hash=invoice.payment_hash,
                amount_msat=invoice.amount.msat,
                reserved_msat=reserved.msat,
                reserved_at=now,
                sender_until=now + _SENDING // _MS,
                look_at=now + _FIRST_LOOK // _MS,
            )
        )
        cards = host_flashcards.c
        cut = (
            update(host_flashcards)
            .where(cards.id == tap.card, cards.balance_msat >= reserved.msat)
            .values(balance_msat=cards.balance_msat - reserved.msat)
        )

        def write(connection: Connection) -> bool:
            if connection.execute(taken).rowcount != 1:
                return False
            # From here on other payments of this card wait, so that none of them is left out of the day's sum.
            if connection.execute(cut).rowcount != 1:
                raise DeclinedError("there is not enough on this card")
            _insist_on_limits(connection, tap, invoice.amount)
            return True

        try:
            return await self._database.write(write)
        except IntegrityError:
            raise DeclinedError("this invoice is paid with another card already") from None

    async def book(self, tap: Tap, cost: LightMoney) -> bool:
        """Enter a payment that was made, once, and put what was reserved beyond its cost back.

        Args:
            tap: The tap.
            cost: Amount and fee; of more than was reserved only that is charged.

        """
        charged = min(cost, tap.reserved or cost)
        return await self._end(tap, charged, status=TapStatus.PAID, charged_msat=charged.msat)

    async def give_back(self, tap: Tap, reason: str) -> bool:
        """Put all that was reserved back, once: certainly nothing was paid. `reason` is for anybody."""
        return await self._end(tap, LightMoney.ZERO, status=TapStatus.FAILED, reason=reason)

    async def sender_is_done(self, tap: Tap) -> None:
        """Note that the process that reserved will not pay any more, so that a failure is believed at once."""
        await self._change(tap, sender_until=0, look_at=0)

    async def look_later(self, tap: Tap, pause: timedelta) -> None:
        """Ask about a payment again after a pause."""
        await self._change(tap, look_at=now_ms() + pause // _MS)

    async def to_look_at(self) -> list[Tap]:
        """Return payments of which it is time to ask how they ended."""
        query = select(_taps).where(_taps.c.status == TapStatus.PAYING, _taps.c.look_at <= now_ms())
        return await self._many(query.order_by(_taps.c.look_at).limit(_AT_ONCE))

    async def payments(
        self,
        card_id: str,
        *,
        before: Tap | None = None,
        after: Tap | None = None,
        offset: int = 0,
        limit: int,
        failed: bool = False,
    ) -> list[Tap]:
        """List what was or may have been paid with a card, newest first; a part of it as `newest_first` has it.

        With `failed` also what was not paid.
        """
        shown = [TapStatus.PAYING, TapStatus.PAID, *([TapStatus.FAILED] if failed else [])]
        part = partial(
            newest_first,
            query=select(_taps).where(_taps.c.card == card_id, _taps.c.status.in_(shown)),
            columns=(_taps.c.reserved_at, _taps.c.code_digest),
            before=before,
            after=after,
            offset=offset,
            limit=limit,
        )
        return [_read_tap(row._mapping) for row in await self._database.read(part)]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    async def sums(self, card_id: str) -> tuple[LightMoney, LightMoney]:
        """Return what is reserved on a card, and what it has paid within 24 hours, reserved amounts included."""
        reserved = select(func.sum(_taps.c.reserved_msat)).where(
            _taps.c.card == card_id, _taps.c.status == TapStatus.PAYING
        )

        def read(connection: Connection) -> tuple[LightMoney, LightMoney]:
            held = LightMoney.from_msat(int(connection.execute(reserved).scalar_one() or 0))
            return held, _spent_today(connection, card_id)

        return await self._database.read(read)

    async def forget_unused(self) -> None:
        """Remove taps that led to no payment, a day after their codes expired."""
        old = now_ms() - _FORGOTTEN_AFTER // _MS
        unused = delete(_taps).where(_taps.c.status == TapStatus.OPEN, _taps.c.expires_at < old)
        await self._database.write(lambda connection: connection.execute(unused))

    async def _many(self, query: Select[Any]) -> list[Tap]:
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_read_tap(row) for row in rows]

    async def _end(self, tap: Tap, charged: LightMoney, **values: Any) -> bool:
        ended = (
            update(_taps)
            .where(_taps.c.code_digest == tap.code_digest, _taps.c.status == TapStatus.PAYING)
            .values(ended_at=now_ms(), **values)
            .returning(_taps)
        )

        def write(connection: Connection) -> bool:
            row = connection.execute(ended).one_or_none()
            if row is None:
                return False
            back = host_flashcards.c.balance_msat + (row.reserved_msat - charged.msat)
            connection.execute(
                update(host_flashcards).where(host_flashcards.c.id == row.card).values(balance_msat=back)
            )
            _tell(connection, _read_tap(row._mapping))  # noqa: SLF001 - as above
            return True

        return await self._database.write(write)

    async def _change(self, tap: Tap, **values: Any) -> None:
        own = (_taps.c.code_digest == tap.code_digest, _taps.c.status == TapStatus.PAYING)
        await self._database.write(lambda connection: connection.execute(update(_taps).where(*own).values(**values)))


def _tell(connection: Connection, ended: Tap) -> None:
    """Queue what webhooks are told of a payment that was made."""
    amount, charged = ended.amount or LightMoney.ZERO, ended.charged
    if charged is None:
        return
    told = {
        "timestamp": int((ended.ended_at or ended.expires_at).timestamp()),
        "storeId": ended.store,
        "flashcardId": ended.card,
        "paymentHash": ended.payment_hash,
        "amount": str(amount.msat),
        "charged": str(charged.msat),
    }
    queue_event(connection, ended.store, "FlashcardSpent", told)


def _most(connection: Connection, card_id: str, limits: Limits) -> LightMoney:
    """Return the most that a card can pay now."""
    query = select(host_flashcards.c.balance_msat).where(host_flashcards.c.id == card_id)
    most = most_payable(LightMoney.from_msat(connection.execute(query).scalar_one()))
    if limits.per_tap is not None:
        most = min(most, limits.per_tap)
    if limits.per_day is not None:
        most = min(most, limits.per_day - _spent_today(connection, card_id))
    return max(most, LightMoney.ZERO)


def _insist_on_limits(connection: Connection, tap: Tap, amount: LightMoney) -> None:
    """Check what may have changed since the tap; the payment itself counts among today's already."""
    limits = find_limits(connection, tap.card)
    retired_at = select(host_flashcard_chips.c.retired_at).where(host_flashcard_chips.c.name == tap.chip)
    if limits.frozen or connection.execute(retired_at).scalar_one() is not None:
        raise DeclinedError("this card is frozen")
    if limits.per_tap is not None and amount > limits.per_tap:
        raise DeclinedError("this is more than the card may pay at once")
    if limits.per_day is not None and _spent_today(connection, tap.card) > limits.per_day:
        raise DeclinedError("this is more than the card may pay today")


def _spent_today(connection: Connection, card_id: str) -> LightMoney:
    counting = (TapStatus.PAYING, TapStatus.PAID)
    query = select(func.sum(_taps.c.amount_msat)).where(
        _taps.c.card == card_id, _taps.c.status.in_(counting), _taps.c.reserved_at > now_ms() - _DAY // _MS
    )
    return LightMoney.from_msat(int(connection.execute(query).scalar_one() or 0))


def _read_tap(row: RowMapping) -> Tap:
    values = dict(row)
    del values["look_at"]
    for name in ("expires_at", "reserved_at", "sender_until", "ended_at"):
        values[name] = None if values[name] is None else from_ms(values[name])
    for name in ("amount", "reserved", "charged"):
        msat = values.pop(f"{name}_msat")
        values[name] = None if msat is None else LightMoney.from_msat(msat)
    return Tap(status=TapStatus(values.pop("status")), **values)
