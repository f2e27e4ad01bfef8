"""What an app that writes cards is told: the keys of one chip, once, to who has the link.

    GET  /flashcard-keys?a=CODE                                     what a scanned QR code leads to
    POST /flashcard-keys?a=CODE {"UID": "..."}                      `boltcard://program?url=...`
    POST /flashcard-keys?a=CODE {"LNURLW": "lnurlw://...p=&c="}     `boltcard://reset?url=...`

The answer is what the app "Boltcard NFC Programmer" reads, in its older and in its newer spelling.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from aiohttp import web
from yarl import URL

from lightning_host.credentials import digest_of
from lightning_host.flashcards.chips import ChipTable
from lightning_host.flashcards.keys import SealError
from lightning_host.flashcards.table import FlashcardTable
from lightning_host.flashcards.withdraw import CHIP_PREFIX, lud17, open_seal
from lightning_host.host import HOST
from lightning_host.web.bodies import Fields, read_json
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from datetime import datetime

    from connection_strings import Secret
    from lightning_host.flashcards.chips import LinkAction
    from lightning_host.host import Host

__all__ = ["KEYS_PATH", "add_card_programming", "link_json"]

KEYS_PATH: Final = "/flashcard-keys"
_UID: Final = re.compile(r"[0-9a-f]{14}")
_LONGEST_CODE: Final = 64
_log: Final = logging.getLogger("lightning_host")


def add_card_programming(app: web.Application) -> None:
    """Add the routes."""
    app.add_routes([web.get(KEYS_PATH, _scanned, allow_head=False), web.post(KEYS_PATH, _asked_by_app)])


def link_json(host: Host, action: LinkAction, code: Secret, expires_at: datetime) -> dict[str, Any]:
    """Describe a link to the keys of a chip: as a URL for a QR code, and as one that opens the app on a phone."""
    url = host.url(f"{KEYS_PATH}?a={code.reveal()}")
    return {
        "url": url,
        "deepLink": f"boltcard://{action}?url={quote(url, safe='')}",
        "expiresAt": int(expires_at.timestamp()),
    }


async def _scanned(request: web.Request) -> web.Response:
    return await _answer(request)


async def _asked_by_app(request: web.Request) -> web.Response:
    fields = await read_json(request, request.app[HOST].settings.request_seconds)
    uid = chip_name = None
    if "UID" in fields:
        uid = fields.text("UID").lower()
        if _UID.fullmatch(uid) is None:
            fields.refuse("UID", "must be the seven bytes of a chip, in hex")
    elif "LNURLW" in fields:
        chip_name = _chip_of(fields.text("LNURLW"))
    else:
        fields.refuse("UID", "is missing; a card that is to be reset is named by its LNURLW")
    return await _answer(request, uid=uid, chip_name=chip_name)


async def _answer(request: web.Request, *, uid: str | None = None, chip_name: str | None = None) -> web.Response:
    host, code = request.app[HOST], digest_of(Fields(request.query).text("a", longest=_LONGEST_CODE))
    seal = open_seal(host)
    used = await ChipTable(host.database).use_link(code, uid=uid, chip_name=chip_name)
    card = None if used is None else await FlashcardTable(host.database).find(used[0].card)
    if used is None or card is None:
        raise ProblemError.make(404, "link-not-found", "this link was used, has expired, or is for another chip")
    chip, action = used
    try:
        keys = seal.open(chip.sealed_keys, chip.name)
    except SealError as error:
        raise ProblemError.make(503, "unavailable", str(error)) from None
    _log.info("store %s: the keys of flashcard %s were fetched, to %s it", card.store, card.id, action)
    lnurlw = lud17(host, "lnurlw", CHIP_PREFIX + chip.name)
    told: dict[str, Any] = (
        {"protocol_name": "create_bolt_card_response", "protocol_version": 2, "card_name": card.name or "Flashcard"}
        if action == "program"
        else {"action": "wipe", "version": 1, "uid": chip.uid or ""}
    )
    return web.json_response(
        {**told, "lnurlw_base": lnurlw, "LNURLW": lnurlw, **keys.revealed("k"), **keys.revealed("K")}
    )


def _chip_of(lnurlw: str) -> str:
    """Return what the URL in a chip calls it; empty for another URL."""
    try:
        path = URL(lnurlw).path
    except ValueError:
        return ""
    return path.removeprefix(CHIP_PREFIX) if path.startswith(CHIP_PREFIX) else ""
