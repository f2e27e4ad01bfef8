"""Spending with flashcards, for shops: below `/api/v1/stores/{store}/flashcards/{card}`.

    GET   /spending                              tells limits, chip, and what is reserved and spent
    PATCH /spending {"frozen"?, "maxPerTap"?, "maxPerDay"?, "pin"?, "pinLimit"?}
                                                 changes what is named; null removes it
    GET   /payments?before=&after=&skip=&take=   lists what was paid with it, newest first, and what failed
    POST  /programming {"replace"?}              makes a one-time link by which an app writes a chip
    POST  /wipe {"chip"?}                        retires a chip, and makes a one-time link by which an app wipes it

Amounts are texts of millisatoshi, times are seconds since 1970.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from lightning_host.credentials import Permission
from lightning_host.flashcards.chips import ChipTable
from lightning_host.flashcards.limits import LimitsTable
from lightning_host.flashcards.programming import link_json
from lightning_host.flashcards.table import FlashcardTable
from lightning_host.flashcards.taps import TapStatus, TapTable
from lightning_host.flashcards.withdraw import open_seal
from lightning_host.host import HOST
from lightning_host.web.api_access import opened_store, part_of
from lightning_host.web.bodies import read_json
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from connection_strings import LightMoney
    from lightning_host.flashcards.table import Flashcard
    from lightning_host.flashcards.taps import Tap
    from lightning_host.host import Host
    from lightning_host.web.bodies import Fields

__all__ = ["add_spending_api"]

_PIN: Final = re.compile(r"[0-9]{4,12}")


def add_spending_api(app: web.Application) -> None:
    """Add the routes."""
    one = "/api/v1/stores/{store}/flashcards/{card}"
    app.add_routes(
        [
            web.get(f"{one}/spending", _get),
            web.patch(f"{one}/spending", _change),
            web.get(f"{one}/payments", _payments),
            web.post(f"{one}/programming", _program),
            web.post(f"{one}/wipe", _wipe),
        ]
    )


async def _get(request: web.Request) -> web.Response:
    card = await _card(request, Permission.VIEW_INVOICES)
    return web.json_response(await _spending_json(request.app[HOST], card))


async def _change(request: web.Request) -> web.Response:
    card, host = await _card(request, Permission.MODIFY_STORE), request.app[HOST]
    fields = await read_json(request, host.settings.request_seconds)
    await LimitsTable(host.database).change(card.id, _read_changes(host, card, fields))
    return web.json_response(await _spending_json(host, card))


async def _payments(request: web.Request) -> web.Response:
    card = await _card(request, Permission.VIEW_INVOICES)
    rows = TapTable(request.app[HOST].database)

    async def find(tap_id: str) -> Tap | None:
        found = await rows.find(tap_id)
        return found if found is not None and found.card == card.id and found.status is not TapStatus.OPEN else None

    part = await part_of(request, find)
    taps = await rows.payments(
        card.id, before=part.before, after=part.after, offset=part.skip, limit=part.take, failed=True
    )
    return web.json_response([_payment_json(tap) for tap in taps])


async def _program(request: web.Request) -> web.Response:
    card, host = await _card(request, Permission.MODIFY_STORE), request.app[HOST]
    fields, seal, chips = (
        await read_json(request, host.settings.request_seconds),
        open_seal(host),
        ChipTable(host.database),
    )
    with fields.together("replace"):
        replace = fields.flag("replace")
    chip = await chips.in_use(card.id)
    if chip is not None and chip.tapped and not replace:
        raise ProblemError.make(
            409, "flashcard-in-use", "this card has a chip that was tapped; with replace it gets another one"
        )
    if chip is None or replace:
        chip = await chips.add(card.id, seal)
    return web.json_response({"chip": chip.name, **link_json(host, "program", *await chips.make_link(chip, "program"))})


async def _wipe(request: web.Request) -> web.Response:
    card, host = await _card(request, Permission.MODIFY_STORE), request.app[HOST]
    fields, chips = await read_json(request, host.settings.request_seconds), ChipTable(host.database)
    open_seal(host)
    with fields.together("chip"):
        name = fields.text("chip", default="", longest=32)
    chip = await (chips.find(name) if name else chips.latest(card.id))
    if chip is None or chip.card != card.id:
        raise ProblemError.make(404, "chip-not-found", "this card has no such chip")
    await chips.retire(chip.name)
    return web.json_response({"chip": chip.name, **link_json(host, "reset", *await chips.make_link(chip, "reset"))})


def _read_changes(host: Host, card: Flashcard, fields: Fields) -> dict[str, Any]:
    """Read which columns of a card's limits are to be changed, and to what."""
    values: dict[str, Any] = {}
    with fields.together("frozen", "maxPerTap", "maxPerDay", "pin", "pinLimit"):
        if "frozen" in fields:
            values["frozen"] = fields.flag("frozen")
        columns = (("maxPerTap", "per_tap_msat"), ("maxPerDay", "per_day_msat"), ("pinLimit", "pin_limit_msat"))
        for name, column in columns:
            if name in fields:
                values[column] = fields.msat(name).msat
            elif fields.is_null(name):
                values[column] = None
        if fields.is_null("pin"):
            values["pin_digest"] = None
        elif "pin" in fields:
            if _PIN.fullmatch(fields.text("pin")) is None:
                fields.note("pin", "must be a text of 4 to 12 digits")
            values["pin_digest"] = open_seal(host).digest_of_pin(card.id, fields.text("pin"))
    return values


async def _card(request: web.Request, permission: Permission) -> Flashcard:
    store = await opened_store(request, permission)
    card = await FlashcardTable(request.app[HOST].database).find(request.match_info["card"])
    if card is None or card.store != store.id:
        raise ProblemError.make(404, "flashcard-not-found", "there is no such flashcard")
    return card


async def _spending_json(host: Host, card: Flashcard) -> dict[str, Any]:
    chip = await ChipTable(host.database).in_use(card.id)
    limits = await LimitsTable(host.database).find(card.id)
    reserved, spent = await TapTable(host.database).sums(card.id)
    return {
        "chip": None if chip is None else chip.name,
        "uid": None if chip is None else chip.uid,
        "tapped": chip is not None and chip.tapped,
        "frozen": limits.frozen,
        "maxPerTap": _msat(limits.per_tap),
        "maxPerDay": _msat(limits.per_day),
        "pinLimit": _msat(limits.pin_limit),
        "wrongPins": limits.wrong_pins,
        "reserved": _msat(reserved),
        "spentToday": _msat(spent),
    }


def _payment_json(tap: Tap) -> dict[str, Any]:
    return {
        "id": tap.code_digest,
        "paymentHash": tap.payment_hash,
        "status": tap.status.value,
        "amount": _msat(tap.amount),
        "reserved": _msat(tap.reserved),
        "charged": _msat(tap.charged),
        "reason": tap.reason,
        "chip": tap.chip,
        "createdAt": None if tap.reserved_at is None else int(tap.reserved_at.timestamp()),
        "endedAt": None if tap.ended_at is None else int(tap.ended_at.timestamp()),
    }


def _msat(amount: LightMoney | None) -> str | None:
    return None if amount is None else str(amount.msat)
