"""How many payments were made with cards, by outcome: sums are kept, because counting takes longer with every year.

The sums hold what ended up to a time that is some hours ago. What has ended since is counted when somebody asks. So
nothing is missed that was booked late, by a clock that is wrong, or by a host of another version beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, String, Table, and_, func, select, update

from connection_strings import LightMoney
from lightning_host.database import insert_if_new, metadata, now_ms
from lightning_host.flashcards.taps import TapStatus, taps_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from lightning_host.database import Database

__all__ = ["CardTotal", "card_totals"]

_sums: Final = Table(
    "host_flashcard_sums",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("outcome", String(8), primary_key=True),
    Column("payments", BigInteger, nullable=False),
    Column("msat", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)
_MS: Final = timedelta(milliseconds=1)
_UNSURE: Final = timedelta(hours=1)
"""What ended longer ago than this is certainly there for everybody to see."""

_ADDED_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTotal:
    """Payments with the cards of a store that ended alike, or of which it is not known how they ended.

    Attributes:
        outcome: `paid`, `failed` or `unknown`.
        amount: What left the cards if they are paid, else what was asked for.

    """

    store: str
    outcome: str
    payments: int
    amount: LightMoney


@dataclass(frozen=True, slots=True)
class _Sum:
    """What ended alike before a time, in milliseconds since 1970."""

    payments: int
    msat: int
    until: int


_NOTHING: Final = _Sum(0, 0, 0)


async def card_totals(database: Database, stores: Iterable[str]) -> list[CardTotal]:
    """Return how many payments ended how, and of how many it is not known, by store; those under way are left out.

    What has been missing in the sums for long is added to them. A payment is unknown once the process that reserved for
    it can't be about to pay any more.
    """
    keys = [(store, outcome) for store in stores for outcome in (TapStatus.PAID, TapStatus.FAILED)]
    sure = now_ms() - _UNSURE // _MS

    def read(connection: Connection) -> tuple[list[CardTotal], list[tuple[str, str, _Sum, _Sum]]]:
        totals: list[CardTotal] = []
        late: list[tuple[str, str, _Sum, _Sum]] = []
        for store, outcome in keys:
            known = _kept(connection, store, outcome)
            if sure - known.until > _ADDED_EVERY // _MS:
                more = _add(connection, known, store, outcome, sure)
                late.append((store, outcome, known, more))
                known = more
            totals.append(_total(store, outcome, _add(connection, known, store, outcome, None)))
        return totals + _unknown(connection), late

    def keep(connection: Connection) -> None:
        for each in missing:
            _keep(connection, *each)

    told, missing = await database.read(read)
    if missing:
        await database.write(keep)
    return told


def _total(store: str, outcome: str, found: _Sum) -> CardTotal:
    return CardTotal(store=store, outcome=outcome, payments=found.payments, amount=LightMoney.from_msat(found.msat))


def _kept(connection: Connection, store: str, outcome: str) -> _Sum:
    query = select(_sums).where(_sums.c.store == store, _sums.c.outcome == outcome)
    row = connection.execute(query).one_or_none()
    return _NOTHING if row is None else _Sum(row.payments, row.msat, row.until)


def _add(connection: Connection, known: _Sum, store: str, outcome: str, until: int | None) -> _Sum:
    """Return a sum with what has ended since, before a time if there is one."""
    taps = taps_table.c
    query = select(func.count(), func.sum(func.coalesce(taps.charged_msat, taps.amount_msat))).where(
        taps.store == store, taps.status == outcome, taps.ended_at >= known.until
    )
    if until is not None:
        query = query.where(taps.ended_at < until)
    count, msat = connection.execute(query).one()
    return _Sum(known.payments + count, known.msat + int(msat or 0), known.until if until is None else until)


def _keep(connection: Connection, store: str, outcome: str, seen: _Sum, new: _Sum) -> None:
    """Keep a sum, unless another replica has done so since."""
    key = {"store": store, "outcome": outcome}
    insert_if_new(connection, _sums, {**key, "payments": 0, "msat": 0, "until": 0})
    same = and_(_sums.c.store == store, _sums.c.outcome == outcome, _sums.c.until == seen.until)
    values = {"payments": new.payments, "msat": new.msat, "until": new.until}
    connection.execute(update(_sums).where(same).values(values))


def _unknown(connection: Connection) -> list[CardTotal]:
    taps = taps_table.c
    query = (
        select(taps.store, func.count().label("payments"), func.sum(taps.amount_msat).label("msat"))
        .where(taps.status == TapStatus.PAYING, taps.sender_until < now_ms())
        .group_by(taps.store)
    )
    return [
        CardTotal(store=row.store, outcome="unknown", payments=row.payments, amount=LightMoney.from_msat(int(row.msat)))
        for row in connection.execute(query)
    ]
