"""Settlements of a Flash account at the host's APIs, whatever Flash tells late or not at all."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import aiohttp
from sqlalchemy import text

from lightning_host.database import Database
from lightning_host.settlements import wallet_listener
from tests.lightning_host.hosts import PASSWORD, eventually
from tests.support.waiting import until

if TYPE_CHECKING:
    import pytest

    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

_EVERY_ONE = 1_000_000


async def make(host: RunningHost, **form: Any) -> dict[str, Any]:
    """Make an invoice as BTCPay and LNbits do; gives the answer."""
    status, answer = await host.phoenixd("POST", "/createinvoice", {"description": "x", **form})
    assert status == 200
    assert isinstance(answer, dict)
    return answer


async def test_preimages_that_come_later_reach_every_api(bench: Bench, hosts: HostBench) -> None:
    """Flash tells the preimage after the settlement: LUD-21, phoenixd's records and Greenfield show it once it did."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox)
    exact, free = await make(host, amountSat="1000"), await make(host)
    _, answer = await host.get("/lnurlp/shop/callback?amount=21000000")
    assert isinstance(answer, dict)
    sandbox.pay(exact["serialized"])
    sandbox.pay(free["serialized"], msat=5_000_000)
    sandbox.pay(answer["pr"])
    verify = str(answer["verify"]).removeprefix(host.url)

    async def complete() -> bool:
        _, verified = await host.get(verify)
        records = [
            (await host.phoenixd("GET", f"/payments/incoming/{each['paymentHash']}"))[1] for each in (exact, free)
        ]
        return None not in (verified["preimage"], *(record["preimage"] for record in records))

    await eventually(complete)
    _, verified = await host.get(verify)
    assert (verified["settled"], verified["pr"]) == (True, answer["pr"])
    _, listed = await host.phoenixd("GET", "/payments/incoming")
    told = {record["paymentHash"]: record for record in listed}
    assert sha256(bytes.fromhex(verified["preimage"])).hexdigest() in told
    for payment_hash, record in told.items():
        assert sha256(bytes.fromhex(record["preimage"])).hexdigest() == payment_hash
        _, invoice = await host.greenfield("GET", f"/invoices/{payment_hash}")
        assert invoice["preimage"] == record["preimage"]
    assert told[free["paymentHash"]]["receivedSat"] > 0


async def test_all_is_told_after_a_gap_in_which_every_event_was_lost(bench: Bench, hosts: HostBench) -> None:
    """Host down, events lost, cursor useless: the host asks beside its listening, and tells each payment once."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox)
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    async with host.session.ws_connect(f"{host.url}/websocket", headers=auth):
        made = [await make(host, amountSat="1000") for _ in range(3)]
    await host.stop()
    sandbox.arm("drop_settlement", count=_EVERY_ONE)
    for each in made:
        sandbox.pay(each["serialized"])
    database = await Database.open(host.settings.database_url)
    astray = text("UPDATE host_cursors SET cursor = 'another journal:7'")
    await database.write(lambda connection: connection.execute(astray))
    await database.aclose()
    again = await hosts.host(sandbox)
    async with again.session.ws_connect(f"{again.url}/websocket", headers=auth) as socket:
        made.append(await make(again, amountSat="1000"))
        sandbox.pay(made[-1]["serialized"])
        async with asyncio.timeout(40):
            heard = [(await socket.receive_json())["paymentHash"] for _ in made]
    assert sorted(heard) == sorted(each["paymentHash"] for each in made)


async def test_a_dead_session_is_told_until_it_is_renewed(
    bench: Bench, hosts: HostBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health and metric tell it, no invoice is made, what is paid is recorded all the same; a new session heals it."""
    monkeypatch.setattr(wallet_listener, "SOUND_SECONDS", 0.1)
    monkeypatch.setattr(wallet_listener, "_LONGEST_PAUSE", 0.5)
    sandbox = await bench.sandbox(http_bearer="reject")
    host = await hosts.host(sandbox)
    made = await make(host, amountSat="1000")
    sandbox.expire_session()
    sandbox.arm("reset", when="now")

    async def refused() -> bool:
        status, told = await host.get("/health")
        return status == 503 and told["byStore"]["shop"].startswith("CredentialRejected")

    await until(refused)
    _, metrics = await host.get("/metrics")
    assert 'lightning_host_token_refused{store="shop"} 1.0' in metrics
    status, _ = await host.phoenixd("POST", "/createinvoice", {"description": "x", "amountSat": "1000"})
    assert status == 503
    sandbox.pay(made["serialized"])

    async def recorded() -> bool:
        _, record = await host.phoenixd("GET", f"/payments/incoming/{made['paymentHash']}")
        return record["isPaid"] is True

    await until(recorded)
    sandbox.expire_session(expired=False)

    async def well() -> bool:
        return (await host.get("/health"))[0] == 200

    await until(well)
    await make(host, amountSat="1000")
