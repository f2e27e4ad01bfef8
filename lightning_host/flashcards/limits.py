"""What a card may pay: limits per tap and per day, a PIN for larger amounts, and whether it is frozen."""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table, select, update

from connection_strings import LightMoney
from lightning_host.database import insert_if_new, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from lightning_host.database import Database

__all__ = ["MOST_WRONG_PINS", "Limits", "LimitsTable", "PinCheck", "find_limits"]

MOST_WRONG_PINS: Final = 3
"""How many wrong PINs in a row freeze a card."""

_limits: Final = Table(
    "host_flashcard_limits",
    metadata,
    Column("card", String(32), primary_key=True),
    Column("frozen", Boolean, nullable=False),
    Column("per_tap_msat", BigInteger),
    Column("per_day_msat", BigInteger),
    Column("pin_digest", String(64)),
    Column("pin_limit_msat", BigInteger),
    Column("wrong_pins", Integer, nullable=False),
)


class PinCheck(enum.Enum):
    """What a PIN turned out to be."""

    RIGHT = enum.auto()
    WRONG = enum.auto()
    FROZEN = enum.auto()
    """Wrong once too often, now or before: the card is frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a card may pay.

    Attributes:
        frozen: Whether it pays nothing.
        per_tap: Most of one payment; None is no limit.
        per_day: Most of all payments within 24 hours; None is no limit.
        pin_limit: From which amount on a payment needs the PIN; None for a card without one.
        wrong_pins: How many wrong PINs there were since the last right one.

    """

    frozen: bool = False
    per_tap: LightMoney | None = None
    per_day: LightMoney | None = None
    pin_limit: LightMoney | None = None
    wrong_pins: int = 0

    def needs_pin(self, amount: LightMoney) -> bool:
        """Whether a payment of this amount needs the PIN."""
        return self.pin_limit is not None and amount >= self.pin_limit


class LimitsTable:
    """Writes and reads limits, and counts wrong PINs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, card_id: str) -> Limits:
        """Return the limits of a card; none before they are set."""
        return await self._database.read(lambda connection: find_limits(connection, card_id))

    async def change(self, card_id: str, values: Mapping[str, Any]) -> None:
        """Change columns of a card's row; a card that is thawed, or has a new PIN, has its wrong PINs forgotten."""
        changed = dict(values)
        if changed.get("frozen") is False or changed.get("pin_digest") is not None:
            changed["wrong_pins"] = 0

        def write(connection: Connection) -> None:
            insert_if_new(connection, _limits, {"card": card_id, "frozen": False, "wrong_pins": 0})
            if changed:
                connection.execute(update(_limits).where(_limits.c.card == card_id).values(changed))

        await self._database.write(write)

    async def try_pin(self, card_id: str, digest: str) -> PinCheck:
        """Compare a PIN's digest with the card's; count a wrong one, and freeze the card at the third in a row.

        Replicas take turns, so that guesses side by side are counted one by one.
        """
        return await self._database.write(lambda connection: _try_pin(connection, card_id, digest))


def find_limits(connection: Connection, card_id: str) -> Limits:
    """Return the limits of a card, within a transaction."""
    row = connection.execute(select(_limits).where(_limits.c.card == card_id)).one_or_none()
    if row is None:
        return Limits()
    return Limits(
        frozen=row.frozen,
        per_tap=_money(row.per_tap_msat),
        per_day=_money(row.per_day_msat),
        pin_limit=None if row.pin_digest is None else LightMoney.from_msat(row.pin_limit_msat or 0),
        wrong_pins=row.wrong_pins,
    )


def _try_pin(connection: Connection, card_id: str, digest: str) -> PinCheck:
    own = _limits.c.card == card_id
    counted = (
        update(_limits)
        .where(own, _limits.c.wrong_pins < MOST_WRONG_PINS, _limits.c.frozen.is_(False))
        .values(wrong_pins=_limits.c.wrong_pins + 1)
        .returning(_limits.c.pin_digest, _limits.c.wrong_pins)
    )
    row = connection.execute(counted).one_or_none()
    if row is None:
        return PinCheck.FROZEN
    if hmac.compare_digest(digest, row.pin_digest or ""):
        connection.execute(update(_limits).where(own).values(wrong_pins=0))
        return PinCheck.RIGHT
    if row.wrong_pins < MOST_WRONG_PINS:
        return PinCheck.WRONG
    connection.execute(update(_limits).where(own).values(frozen=True))
    return PinCheck.FROZEN


def _money(msat: int | None) -> LightMoney | None:
    return None if msat is None else LightMoney.from_msat(msat)
