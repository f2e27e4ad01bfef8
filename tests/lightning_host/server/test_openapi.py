"""The OpenAPI document tells of every route, and running hosts keep to it whatever they are asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from connection_strings import Secret
from lightning_host.server.api_table import API
from lightning_host.server.app import make_app
from lightning_host.server.openapi import document, routes_of
from lightning_host.settings import HostSettings
from tests.lightning_host.hosts import API_KEY, PASSWORD
from tests.support.checkouts import KEY, open_checkout

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

CONTROL = "http://127.0.0.1:9/control"
ROUTES = routes_of(make_app(HostSettings(connection_string=Secret("type=fake;node=routes"), sandbox_control=CONTROL)))


def test_every_route_is_described_and_nothing_else() -> None:
    """The table has a row for each route of the application, and no row for a route that is gone."""
    assert set(ROUTES) == set(API)
    assert sum(map(len, document(ROUTES)["paths"].values())) == len(ROUTES)


async def test_document_and_page_are_served(hosts: HostBench, node: FakeNode) -> None:
    """Anybody reads the document, and a person the same as a page; neither has anything of this host's settings."""
    host = await hosts.host(node, sandbox_control=CONTROL)
    status, told = await host.get("/openapi.json")
    assert status == 200
    assert told == document(ROUTES)
    status, page = await host.get("/api")
    assert status == 200
    assert all(path in page for path in told["paths"])


EXAMPLES: Final = 5
"""Of each operation; derived from its description, so they are the same each time."""

CHECKS: Final = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)
_LEFT_OUT: Final = ("/events", "/websocket", "/paylnaddress", "/lnurlpay")
"""Whose answers have no end, or which would ask servers elsewhere."""

ASKED: Final = [route for route in ROUTES if not route[1].endswith(_LEFT_OUT)]


@pytest.mark.timeout(400)
async def test_a_running_host_answers_as_described(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fits or breaks the description is answered as described, with no fault of the host."""
    monkeypatch.setattr("lightning_host.client_limits.WrongKeys.delay", lambda *_: 0.0)
    free: dict[str, Any] = {"lnurl_client_allowance": None, "lnurl_allowance": None}
    host = await hosts.host(node, sandbox_control=CONTROL, flashcard_key="key-that-seals-cards", **free)
    checkout = await open_checkout(host)
    _, card = await host.request("POST", "/api/v1/stores/shop/flashcards", json={}, headers=KEY)
    known = {
        "store": "shop", "name": "shop", "crypto_code": "BTC", "checkout": checkout["id"], "card": card["id"],
        "id": checkout["paymentHash"], "payment_hash": checkout["paymentHash"],
    }  # fmt: skip
    found = await asyncio.to_thread(break_it, host.url, known)
    assert found == []


def break_it(url: str, known: dict[str, str]) -> list[str]:
    """Have schemathesis ask each operation, half of the time about something that there is; returns what it found."""
    found: list[str] = []
    schema: Any = schemathesis.openapi.from_dict(document(ASKED))
    for result in schema.get_all_operations():
        operation = result.ok()
        try:
            asking(operation, url, known)()
        except (Exception, FailureGroup) as error:  # noqa: BLE001 - told with the others
            told = " ".join(str(error).split())
            found.append(f"{operation.method} {operation.path}: {type(error).__name__} {told[:600]}")
    return found


def asking(operation: Any, url: str, known: dict[str, str]) -> Callable[[], None]:
    """Return what asks one operation."""
    of_phoenixd = not operation.path.startswith("/api/")
    key = aiohttp.encode_basic_auth("", PASSWORD) if of_phoenixd else f"token {API_KEY}"

    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        for name in case.path_parameters or {}:
            if name in known and len(str(case.path_parameters[name])) % 2 == 0:
                case.path_parameters[name] = known[name]
        response = case.call(base_url=url, headers={"Authorization": key}, allow_redirects=False, timeout=30)
        case.validate_response(response, checks=list(CHECKS))

    return ask
