"""Tap to pay: what a shop's terminal asks when it has read a card (LUD-03, LUD-17; Bolt Card specification).

    GET /flashcard-tap/{chip}?p=&c=                     the URL in the chip with what the chip added: a withdrawRequest
    GET /flashcard-tap/{chip}/callback?k1=&pr=&pin=     the terminal's BOLT11, to be paid with the card

A terminal that asks again with the same code and BOLT11 is told how that payment stands, and nothing is paid twice.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from connection_strings import LightMoney
from connection_strings.bolt11.reader import LONGEST, read
from lightning_host.credentials import digest_of
from lightning_host.flashcards.chips import ChipTable
from lightning_host.flashcards.keys import Seal, SealError
from lightning_host.flashcards.limits import LimitsTable, PinCheck
from lightning_host.flashcards.lnurl import card_lnurl_path
from lightning_host.flashcards.payments import pay_with_card
from lightning_host.flashcards.sun import read_sun
from lightning_host.flashcards.table import FlashcardTable
from lightning_host.flashcards.taps import LEAST, DeclinedError, TapStatus, TapTable, TerminalInvoice
from lightning_host.host import HOST
from lightning_host.lnurl.pay import answer, with_preflight
from lightning_host.web.bodies import Fields
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp import web

    from lightning_host.flashcards.chips import Chip
    from lightning_host.flashcards.table import Flashcard
    from lightning_host.flashcards.taps import Tap
    from lightning_host.host import Host
    from lightning_host.stores import Store

__all__ = ["CHIP_PREFIX", "add_card_withdraw", "lud17", "open_seal"]

CHIP_PREFIX: Final = "/flashcard-tap/"
_LONGEST_CODE: Final = 64
_LONGEST_PIN: Final = 12
_log: Final = logging.getLogger("lightning_host")


def add_card_withdraw(app: web.Application) -> None:
    """Add link and callback."""
    app.add_routes(with_preflight(CHIP_PREFIX + "{chip}", _tap))
    app.add_routes(with_preflight(CHIP_PREFIX + "{chip}/callback", _callback))


def lud17(host: Host, scheme: str, path: str) -> str:
    """Return the URL of a path with a scheme of LNURL's own, such as `lnurlw` (LUD-17)."""
    return f"{scheme}:{host.url(path).partition(':')[2]}"


def open_seal(host: Host) -> Seal:
    """Return what seals the keys of cards.

    Raises:
        ProblemError: FLASHCARD_KEY is not set.

    """
    if host.settings.flashcard_key is None:
        raise ProblemError.make(
            400, "not-supported", "cards can't be spent at this host: its operator has to set FLASHCARD_KEY"
        )
    return Seal(host.settings.flashcard_key)


async def _tap(request: web.Request) -> web.Response:
    """Take in what a chip said, and offer the terminal to pay (LUD-03)."""
    host, query = request.app[HOST], Fields(request.query)
    chip, card, store = await _chip(request)
    try:
        keys = open_seal(host).open(chip.sealed_keys, chip.name)
    except SealError as error:
        _log.error("store %s: flashcard %s can't be read: %s", card.store, card.id, error)
        raise ProblemError.make(503, "unavailable", "this card can't be read right now") from None
    sun = read_sun(keys.k1, keys.k2, query.text("p", default=""), query.text("c", default=""))
    if sun is None:
        raise ProblemError.make(403, "card-not-read", "this is not what the card says; tap it again")
    try:
        opened = await TapTable(host.database).open(store.id, chip, sun)
    except DeclinedError as declined:
        raise _declined(declined) from None
    offer: dict[str, Any] = {
        "tag": "withdrawRequest",
        "callback": host.url(f"{CHIP_PREFIX}{chip.name}/callback"),
        "k1": opened.code.reveal(),
        "defaultDescription": f"{store.title}: flashcard {card.name}".strip(),
        "minWithdrawable": LEAST.msat,
        "maxWithdrawable": opened.most.msat,
        "payLink": lud17(host, "lnurlp", card_lnurl_path(card)),
    }
    if opened.pin_limit is not None:
        offer["pinLimit"] = opened.pin_limit.msat
    return answer(offer)


async def _callback(request: web.Request) -> web.Response:
    """Pay the terminal's BOLT11 (LUD-03 step 5); OK says that it is paid, or is being paid."""
    host, query = request.app[HOST], Fields(request.query)
    chip, _, store = await _chip(request)
    tap = await TapTable(host.database).find(digest_of(query.text("k1", longest=_LONGEST_CODE)))
    if tap is None or tap.chip != chip.name:
        raise _declined("this code is not known; tap the card again")
    invoice = _read_invoice(query, fresh=tap.status is TapStatus.OPEN)
    try:
        if tap.status is TapStatus.OPEN:
            await _insist_on_pin(host, tap, invoice.amount, query)
            tap = await pay_with_card(host, store, tap, invoice)
    except DeclinedError as declined:
        raise _declined(declined) from None
    if tap.status is TapStatus.OPEN:
        raise ProblemError.make(503, "unavailable", "this takes too long; ask again")
    if tap.bolt11 != invoice.bolt11:
        raise _declined("this tap pays another invoice; tap the card again")
    if tap.status is TapStatus.FAILED:
        raise _declined(tap.reason or "the payment failed")
    return answer({"status": "OK"})


def _read_invoice(query: Fields, *, fresh: bool) -> TerminalInvoice:
    """Read the BOLT11 to pay; a `fresh` one must not have expired."""
    bolt11 = query.text("pr", longest=LONGEST).strip().lower()
    try:
        invoice = read(bolt11)
    except ValueError as error:
        query.refuse("pr", f"is not a BOLT11 payment request ({error})")
    if invoice.amount_msat is None or invoice.amount_msat < LEAST.msat:
        query.refuse("pr", "must be over an amount of one satoshi or more")
    if fresh and invoice.timestamp_seconds + invoice.expiry_seconds <= datetime.now(UTC).timestamp():
        query.refuse("pr", "has expired")
    return TerminalInvoice(bolt11, invoice.payment_hash.hex(), LightMoney.from_msat(invoice.amount_msat))


async def _insist_on_pin(host: Host, tap: Tap, amount: LightMoney, query: Fields) -> None:
    """Check code and PIN before an amount is paid.

    Raises:
        DeclinedError: The code has expired, or the PIN is needed and missing or wrong.

    """
    if tap.expires_at <= datetime.now(UTC):
        raise DeclinedError("this code has expired; tap the card again")
    limits = LimitsTable(host.database)
    if not (await limits.find(tap.card)).needs_pin(amount):
        return
    if "pin" not in query:
        raise DeclinedError("this amount needs the PIN of the card")
    digest = open_seal(host).digest_of_pin(tap.card, query.text("pin", longest=_LONGEST_PIN))
    match await limits.try_pin(tap.card, digest):
        case PinCheck.WRONG:
            raise DeclinedError("the PIN is wrong")
        case PinCheck.FROZEN:
            raise DeclinedError("the PIN was wrong too often: this card is frozen")
        case PinCheck.RIGHT:
            return


async def _chip(request: web.Request) -> tuple[Chip, Flashcard, Store]:
    host = request.app[HOST]
    chip = await ChipTable(host.database).find(request.match_info["chip"])
    card = None if chip is None else await FlashcardTable(host.database).find(chip.card)
    store = None if card is None else host.stores.get(card.store)
    if chip is None or card is None or store is None:
        raise ProblemError.make(404, "flashcard-not-found", "there is no such flashcard")
    if chip.retired:
        raise _declined("this card was replaced or wiped")
    return chip, card, store


def _declined(reason: DeclinedError | str) -> ProblemError:
    return ProblemError.make(409, "card-declined", str(reason))
