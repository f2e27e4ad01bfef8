"""Writing, replacing and wiping cards: keys are told once, to who has the link, and stand nowhere else."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from yarl import URL

from lightning_host.database import Database
from tests.support.checkouts import KEY
from tests.support.software_card import SoftwareCard
from tests.support.terminals import (
    CARDS,
    FLASHCARD_KEY,
    Terminal,
    balance,
    card_api,
    funded_card,
    make_card,
    write_card,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

NAMES = ("k0", "k1", "k2", "k3", "k4")


async def follow(host: RunningHost, link: dict[str, Any], body: Any = None) -> tuple[int, Any]:
    """Ask for the keys as an app does: after a QR code, or after a click on the link that opens it."""
    scheme, _, asked = link["deepLink"].partition("?url=")
    assert scheme in ("boltcard://program", "boltcard://reset")
    assert URL(f"http://x/?u={asked}").query["u"] == link["url"]
    return await host.request("GET" if body is None else "POST", URL(link["url"]).path_qs, json=body)


async def test_keys_are_told_once(hosts: HostBench, node: FakeNode) -> None:
    """A link tells five keys in both spellings, once; before the first tap another link tells the same."""
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY)
    card = await make_card(host)
    link = await card_api(host, card, "POST", "/programming", {})
    status, keys = await follow(host, link)
    assert (status, len({keys[name] for name in NAMES})) == (200, 5)
    assert [keys[name] for name in NAMES] == [keys[name.upper()] for name in NAMES]
    assert keys["lnurlw_base"] == keys["LNURLW"] == f"lnurlw:{host.url.partition(':')[2]}/flashcard-tap/{link['chip']}"
    assert (keys["protocol_name"], keys["protocol_version"]) == ("create_bolt_card_response", 2)
    for body in (None, {"UID": "04aabbccddeeff"}):
        assert (await follow(host, link, body))[0] == 404
    again = await card_api(host, card, "POST", "/programming", {})
    assert (await follow(host, again, {"UID": "04AABBCCDDEEFF"})) == (200, keys)
    assert (await card_api(host, card, "GET", "/spending"))["uid"] == "04aabbccddeeff"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_new_link_ends_the_earlier_one(
    database: str, hosts: HostBench, node: FakeNode, request: pytest.FixtureRequest
) -> None:
    """Of the links to the keys of a chip only the last one works, also of two that are made at once."""
    url = request.getfixturevalue("postgres").new_database() if database == "postgresql" else None
    host = await hosts.host(node, database=url, flashcard_key=FLASHCARD_KEY)
    card = await make_card(host)
    await card_api(host, card, "POST", "/programming", {})
    making = [card_api(host, card, "POST", "/programming", {}) for _ in range(4)]
    links = await asyncio.gather(*making)
    assert sorted([(await follow(host, link))[0] for link in links]) == [200, 404, 404, 404]
    links = [await card_api(host, card, "POST", "/programming", {}) for _ in range(2)]
    assert [(await follow(host, link))[0] for link in links] == [404, 200]
    await card_api(host, card, "POST", "/programming", {"replace": True})
    links = [await card_api(host, card, "POST", "/wipe", {}) for _ in range(2)]
    assert [(await follow(host, link))[0] for link in links] == [404, 200]


async def test_links_that_lead_nowhere(hosts: HostBench, node: FakeNode) -> None:
    """A wrong code, an expired link and an app's nonsense tell no key."""
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY)
    link = await card_api(host, await make_card(host), "POST", "/programming", {})
    for body in ({}, {"UID": "04aa"}, {"UID": 7}, {"UID": "zz" * 7}):
        assert (await follow(host, link, body))[0] == 422
    assert (await host.get("/flashcard-keys?a=00"))[0] == 404
    assert (await host.get("/flashcard-keys"))[0] == 422
    database = await Database.open(hosts.secret())
    expire = text("UPDATE host_flashcard_links SET expires_at = 1")
    await database.write(lambda connection: connection.execute(expire))
    await database.aclose()
    assert (await follow(host, link))[0] == 404


async def test_another_piece_of_plastic(hosts: HostBench, node: FakeNode) -> None:
    """A tapped chip is replaced only if the shop says so, and pays nothing from then on; its twin pays nothing ever."""
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY)
    card, chip = await funded_card(host, node, 10_000)
    terminal = Terminal(host)
    assert (await terminal.read(chip.tap()))["tag"] == "withdrawRequest"
    twin = SoftwareCard(chip.url, chip.encryption_key, chip.signing_key, counter=chip.counter)
    assert "used before" in (await terminal.read(twin.tap()))["reason"]
    path = f"{CARDS}/{card['id']}/programming"
    assert (await host.request("POST", path, json={}, headers=KEY))[0] == 409
    new = await write_card(host, card, replace=True)
    assert "replaced" in (await terminal.read(chip.tap()))["reason"]
    assert (await terminal.read(new.tap()))["tag"] == "withdrawRequest"
    assert (new.encryption_key != chip.encryption_key, await balance(host, card)) == (True, 10_000_000)
    assert (await host.request("POST", path, json={"replace": "perhaps"}, headers=KEY))[0] == 422


async def test_wiping(hosts: HostBench, node: FakeNode) -> None:
    """A wiped chip pays nothing from the call on; its keys are told to the app that reads this very chip, once."""
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY)
    card, chip = await funded_card(host, node, 10_000)
    offer = await Terminal(host).read(chip.tap())
    link = await card_api(host, card, "POST", "/wipe", {})
    assert "wiped" in (await Terminal(host).read(chip.tap()))["reason"]
    assert "wiped" in (await Terminal(host).charge(offer, "lnbc1"))["reason"]
    assert (await follow(host, link, {"LNURLW": chip.tap().replace(link["chip"], "another")}))[0] == 404
    status, keys = await follow(host, link, {"LNURLW": chip.tap()})
    assert (status, keys["action"], keys["k1"]) == (200, "wipe", chip.encryption_key.hex())
    assert keys["uid"] == chip.uid.hex()
    assert (await follow(host, link, {"LNURLW": chip.tap()}))[0] == 404
    new = await write_card(host, card)
    assert (await Terminal(host).read(new.tap()))["tag"] == "withdrawRequest"
    older = await card_api(host, card, "POST", "/wipe", {"chip": link["chip"]})
    assert (await follow(host, older))[1]["k0"] == keys["k0"]
    assert (await Terminal(host).read(new.tap()))["tag"] == "withdrawRequest"
    other = await make_card(host)
    for body in ({}, {"chip": link["chip"]}):
        assert (await host.request("POST", f"{CARDS}/{other['id']}/wipe", json=body, headers=KEY))[0] == 404


async def test_keys_stand_nowhere(
    hosts: HostBench, node: FakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither database, logs nor answers but the link's hold a key, a code or a PIN in the clear."""
    caplog.set_level(logging.DEBUG)
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY)
    card, chip = await funded_card(host, node, 10_000, pin="471147114711", pinLimit="0")
    offer = await Terminal(host).read(chip.tap())
    link = await card_api(host, card, "POST", "/programming", {"replace": True})
    told = [await card_api(host, card, "GET", path) for path in ("", "/spending", "/payments", "/history")]
    await host.stop()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())  # noqa: ASYNC240 - the host has stopped
    logged = "".join(record.getMessage() for record in caplog.records if record.name.startswith("lightning_host"))
    secrets = (chip.encryption_key.hex(), chip.signing_key.hex(), link["url"][-32:], offer["k1"], "471147114711")
    for secret in (*secrets, FLASHCARD_KEY):
        assert secret.encode() not in written
        assert secret not in logged + str(told)
    assert chip.encryption_key not in written


async def test_keys_of_the_store(hosts: HostBench, node: FakeNode) -> None:
    """Keys that do less see limits and payments, and change nothing; another store's card is not there."""
    read_key = {"Authorization": "token key-that-reads-only"}
    other: dict[str, Any] = {"connection_string": "type=fake;node=other", "api_keys": ["key-of-the-bakery"]}
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY, read_key="key-that-reads-only", stores={"bakery": other})
    card = await make_card(host)
    one = f"{CARDS}/{card['id']}"
    for path in ("/spending", "/payments"):
        assert (await host.get(one + path, headers=read_key))[0] == 200
        assert (await host.get(one + path))[0] == 401
    for method, path in (("PATCH", "/spending"), ("POST", "/programming"), ("POST", "/wipe")):
        assert (await host.request(method, one + path, json={}, headers=read_key))[0] == 403
        bakery = {"Authorization": "token key-of-the-bakery"}
        foreign = one.replace("/shop/", "/bakery/")
        assert (await host.request(method, foreign + path, json={}, headers=bakery))[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {"pin": "123"},
        {"pin": "12a4"},
        {"pin": 1234},
        {"pin": "1" * 13},
        {"maxPerTap": "-1"},
        {"maxPerDay": "1.5"},
        {"pinLimit": "much"},
        {"frozen": "perhaps"},
        {"maxperday": "1", "maxPerWeek": "1"},
    ],
)
async def test_limits_that_can_not_be(hosts: HostBench, node: FakeNode, body: dict[str, Any]) -> None:
    """A wrong value or an unknown field changes nothing, and is named."""
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY)
    card = await make_card(host)
    before = await card_api(host, card, "GET", "/spending")
    status, told = await host.request("PATCH", f"{CARDS}/{card['id']}/spending", json=body, headers=KEY)
    assert status == 422, told
    assert await card_api(host, card, "GET", "/spending") == before
