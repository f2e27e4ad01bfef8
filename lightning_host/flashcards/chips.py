"""The chips that cards are spent with, and the one-time links by which an app writes or wipes them.

A card has one chip at a time; one that was replaced or wiped is retired, and its keys are kept: without key 0 nobody
could ever write to the plastic again.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from connection_strings import Secret
from lightning_host.credentials import digest_of
from lightning_host.database import from_ms, metadata, now_ms
from lightning_host.flashcards.keys import CardKeys

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from lightning_host.database import Database
    from lightning_host.flashcards.keys import Seal

__all__ = ["LINK_LIFE", "Chip", "ChipTable", "LinkAction", "host_flashcard_chips"]

LinkAction = Literal["program", "reset"]

LINK_LIFE: Final = timedelta(minutes=15)
"""How long a link to the keys of a chip can be used, once."""

_NEVER_READ: Final = -1

host_flashcard_chips: Final = Table(
    "host_flashcard_chips",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("card", String(32), nullable=False),
    Column("sealed_keys", Text, nullable=False),
    Column("uid", String(14)),
    Column("counter", Integer, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
    Index("host_flashcard_chips_by_card", "card", "made_at"),
    Index(
        "host_flashcard_chips_in_use",
        "card",
        unique=True,
        sqlite_where=text("retired_at IS NULL"),
        postgresql_where=text("retired_at IS NULL"),
    ),
)
_links: Final = Table(
    "host_flashcard_links",
    metadata,
    Column("code_digest", String(64), primary_key=True),
    Column("chip", String(32), nullable=False),
    Column("action", String(8), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A chip.

    Attributes:
        name: What the URL in its memory calls it.
        sealed_keys: Its keys, sealed under its name.
        uid: What it calls itself, in hex; None before an app or its first tap has told.
        counter: That of its last tap, below zero before the first.
        retired: Whether it was replaced or wiped: then it pays nothing.

    """

    name: str
    card: str
    sealed_keys: str
    uid: str | None
    counter: int
    made_at: datetime
    retired: bool

    @property
    def tapped(self) -> bool:
        """Whether it has been read, so that an app has certainly written it."""
        return self.counter > _NEVER_READ


class ChipTable:
    """Writes and reads chips and the links to their keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, name: str) -> Chip | None:
        """Return the chip with this name."""
        return await self._database.read(lambda connection: _find(connection, host_flashcard_chips.c.name == name))

    async def in_use(self, card_id: str) -> Chip | None:
        """Return the chip that a card is spent with, None before one is made."""
        return await self._database.read(lambda connection: _find_in_use(connection, card_id))

    async def latest(self, card_id: str) -> Chip | None:
        """Return the chip of a card that was made last, also a retired one."""
        return await self._database.read(lambda connection: _find(connection, host_flashcard_chips.c.card == card_id))

    async def add(self, card_id: str, seal: Seal) -> Chip:
        """Make a chip with new keys for a card, and retire the one before; of two calls at once only one makes it."""
        name = secrets.token_hex(8)
        row = {
            "name": name,
            "card": card_id,
            "sealed_keys": seal.close(CardKeys.random(), name),
            "counter": _NEVER_READ,
            "made_at": now_ms(),
        }

        def write(connection: Connection) -> None:
            _retire(connection, host_flashcard_chips.c.card == card_id)
            connection.execute(insert(host_flashcard_chips), row)

        with suppress(IntegrityError):
            await self._database.write(write)
        chip = await self.in_use(card_id)
        assert chip is not None  # noqa: S101 - for the type checker; one was inserted above
        return chip

    async def retire(self, name: str) -> None:
        """Let a chip pay nothing any more."""
        await self._database.write(lambda connection: _retire(connection, host_flashcard_chips.c.name == name))

    async def make_link(self, chip: Chip, action: LinkAction) -> tuple[Secret, datetime]:
        """Make a one-time code that leads to the keys of a chip; gives it and when it expires.

        It is the only one of that chip: earlier codes that were not used end.
        """
        code = Secret(secrets.token_hex(16))
        expires_at = now_ms() + LINK_LIFE // timedelta(milliseconds=1)
        row = {
            "code_digest": digest_of(code.reveal()),
            "chip": chip.name,
            "action": action,
            "expires_at": expires_at,
        }
        # Of two calls at once the second waits at the chip, and so sees the code of the first.
        at_chip = select(host_flashcard_chips.c.name).where(host_flashcard_chips.c.name == chip.name).with_for_update()
        earlier = delete(_links).where(_links.c.chip == chip.name, _links.c.used_at.is_(None))

        def write(connection: Connection) -> None:
            connection.execute(at_chip)
            connection.execute(earlier)
            connection.execute(insert(_links), row)

        await self._database.write(write)
        return code, from_ms(expires_at)

    async def use_link(
        self, code_digest: str, *, uid: str | None = None, chip_name: str | None = None
    ) -> tuple[Chip, LinkAction] | None:
        """Use a code up.

        Args:
            code_digest: The digest of the code.
            uid: What the chip at the app calls itself, if the app has told.
            chip_name: What the URL in that chip calls it, if the app has told; the code stays usable for the right one.

        Returns:
            Its chip and what may be done to it; None when it is unknown, used or too old, or when its chip was retired
            since, or is known to be another one.

        """
        return await self._database.write(lambda connection: _use_link(connection, code_digest, uid, chip_name))


def _use_link(
    connection: Connection, code_digest: str, uid: str | None, chip_name: str | None
) -> tuple[Chip, LinkAction] | None:
    now, chips = now_ms(), host_flashcard_chips.c
    taken = (
        update(_links)
        .where(_links.c.code_digest == code_digest, _links.c.used_at.is_(None), _links.c.expires_at > now)
        .values(used_at=now)
        .returning(_links.c.chip, _links.c.action)
    )
    if chip_name is not None:
        taken = taken.where(_links.c.chip == chip_name)
    link = connection.execute(taken).one_or_none()
    if link is None:
        return None
    action: LinkAction = "program" if link.action == "program" else "reset"
    if action == "program" and uid is not None:
        told = update(host_flashcard_chips).where(chips.name == link.chip, chips.uid.is_(None)).values(uid=uid)
        connection.execute(told)
    chip = _find(connection, chips.name == link.chip)
    if chip is None or (action == "program" and (chip.retired or (uid is not None and chip.uid != uid))):
        return None
    return chip, action


def _retire(connection: Connection, condition: ColumnElement[bool]) -> None:
    unretired = host_flashcard_chips.c.retired_at.is_(None)
    connection.execute(update(host_flashcard_chips).where(condition, unretired).values(retired_at=now_ms()))


def _find_in_use(connection: Connection, card_id: str) -> Chip | None:
    chips = host_flashcard_chips.c
    return _find(connection, chips.card == card_id, chips.retired_at.is_(None))


def _find(connection: Connection, *conditions: ColumnElement[bool]) -> Chip | None:
    query = select(host_flashcard_chips).where(*conditions)
    query = query.order_by(host_flashcard_chips.c.made_at.desc(), host_flashcard_chips.c.name).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    values = dict(row)
    return Chip(made_at=from_ms(values.pop("made_at")), retired=values.pop("retired_at") is not None, **values)
