from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from connection_strings import LightningError
from lightning_host.logs import begin_request, set_up_logs
from tests.support.checkouts import CHECKOUTS, KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench


def lines(capture: pytest.CaptureFixture[str], *, as_json: bool) -> Iterator[str]:
    """Log in two requests side by side; gives what was written."""
    root = logging.getLogger()
    before, level = [*root.handlers], root.level
    try:
        set_up_logs(logging.INFO, as_json=as_json)

        async def serve(name: str) -> None:
            begin_request()
            for part in ("begins", "ends"):
                logging.getLogger("lightning_host").warning("%s %s", name, part)
                await asyncio.sleep(0)

        async def both() -> None:
            await asyncio.gather(serve("one"), serve("two"))

        asyncio.run(both())
        logging.getLogger("lightning_host").warning("none")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    yield from capture.readouterr().err.splitlines()


def test_lines_of_a_request_share_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON each line is one object; those of one request have one id, those of none have none."""
    told = [json.loads(line) for line in lines(capsys, as_json=True)]
    ids = {each["message"]: each.get("request") for each in told}
    assert ids["one begins"] == ids["one ends"] != ids["two begins"] == ids["two ends"]
    assert ids["none"] is None
    assert {(each["level"], each["logger"]) for each in told} == {("WARNING", "lightning_host")}


def test_lines_for_people_name_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    """As text the id stands at the end of the line."""
    told = list(lines(capsys, as_json=False))
    assert sum("[request " in line for line in told) == 4
    assert told[-1].endswith("none")


async def test_answers_tell_the_id(hosts: HostBench, node: FakeNode) -> None:
    """Each answer has the id of its request, also a refusal and a failure, and no two have the same."""
    host = await hosts.host(node)
    seen = set()
    for path in ("/live", "/nothing", "/checkout/nothing", "/metrics"):
        async with host.session.get(f"{host.url}{path}") as response:
            seen.add(response.headers["X-Request-Id"])
    node.broken = LightningError("away")
    async with host.session.post(f"{host.url}{CHECKOUTS}", json={"amount": "1000"}, headers=KEY) as response:
        seen.add(response.headers["X-Request-Id"])
    assert len(seen) == 5
