from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.sandbox.clients import CREATE, ME, UPDATES

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import Clock, StartLab

UNAUTHORIZED = {"error": {"code": 401, "status": "Unauthorized", "message": "Access credentials are invalid"}}


async def test_a_bearer_token_names_its_account(lab: Lab) -> None:
    """The token's owner sees their own default wallet."""
    account = (await lab.http(ME)).data["me"]["defaultAccount"]
    assert account["defaultWalletId"] == lab.sandbox.wallet_id


async def test_an_api_key_names_its_account(lab: Lab) -> None:
    """`X-API-KEY` does what a bearer token does."""
    reply = await lab.http(ME, headers={"X-API-KEY": lab.sandbox.api_key})
    assert reply.data["me"]["defaultAccount"]["defaultWalletId"] == lab.sandbox.wallet_id


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer ory_st_nobody"},
        {"Authorization": "Basic abc"},
        {"X-API-KEY": "fk_nobody"},
    ],
)
async def test_a_bad_credential_is_stopped_at_the_gateway(lab: Lab, headers: dict[str, str]) -> None:
    """GraphQL never sees it, and the answer is the gateway's, whatever was asked."""
    for reply in (await lab.http(ME, headers=headers), await lab.post("not even JSON", headers)):
        assert (reply.status, reply.body) == (401, UNAUTHORIZED)
    assert lab.counted("me", "http") == (1, 0)
    assert lab.sandbox.ledger_snapshot()["connections"]["http_unauthorized"] == 2


async def test_a_bare_token_is_no_bearer(lab: Lab) -> None:
    """The scheme must be named."""
    assert (await lab.http(ME, headers={"Authorization": lab.sandbox.token})).status == 401


async def test_a_server_may_refuse_session_tokens_over_http(start_lab: StartLab) -> None:
    """`http_bearer=reject` answers 401 to an Ory token and still takes the API key."""
    lab = await start_lab(http_bearer="reject")
    assert (await lab.http(ME)).status == 401
    assert (await lab.http(ME, headers={"X-API-KEY": lab.sandbox.api_key})).status == 200


async def test_nobody_may_ask_public_questions_only(lab: Lab) -> None:
    """Without a credential public fields answer, and a protected one fails with 200 and NOT_AUTHORIZED."""
    public = await lab.http('{ globals { network nodesIds } realtimePrice(currency: "USD") { timestamp } }', headers={})
    assert public.data["globals"] == {"network": "regtest", "nodesIds": []}
    private = await lab.http(ME, headers={})
    assert private.status == 200
    assert private.body["data"] == {"me": None}
    assert (private.error["message"], private.error["code"]) == ("Not authorized", "NOT_AUTHORIZED")
    mutation = await lab.http(CREATE, headers={}, input={"walletId": lab.sandbox.wallet_id, "amount": 1})
    assert mutation.body["data"] is None
    assert mutation.error["code"] == "NOT_AUTHORIZED"
    assert lab.counted("lnUsdInvoiceCreate", "http") == (1, 0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "BAD_REQUEST"),
        ("[]", "BAD_REQUEST"),
        ("{}", "BAD_REQUEST"),
        ('{"query": "{me{id}}", "variables": []}', "BAD_REQUEST"),
        ('{"query": "{me{id}"}', "GRAPHQL_PARSE_FAILED"),
        ('{"query": "{me{nonsense}}"}', "GRAPHQL_VALIDATION_FAILED"),
        ('{"query": "query A{me{id}} query B{me{id}}"}', "OPERATION_RESOLUTION_FAILURE"),
        ('{"query": "fragment F on User{id}"}', "OPERATION_RESOLUTION_FAILURE"),
        (b"\xff\xfe", "BAD_REQUEST"),
    ],
)
async def test_what_is_no_valid_operation_gets_400_and_is_not_executed(lab: Lab, body: str, code: str) -> None:
    """Errors before execution have the status 400, the code beside the message, and no data."""
    reply = await lab.post(body, lab.bearer)
    assert reply.status == 400
    assert reply.error["code"] == code
    assert "extensions" not in reply.error
    assert "data" not in reply.body
    assert lab.sandbox.ledger_snapshot()["executed"] == {}


async def test_an_operation_can_be_chosen_by_name(lab: Lab) -> None:
    """A document may hold several operations."""
    body = {"query": "query A { me { id } } query B { globals { network } }", "operationName": "B"}
    assert (await lab.post(body)).data == {"globals": {"network": "regtest"}}


async def test_a_router_drops_the_code(start_lab: StartLab) -> None:
    """Behind a router an error of the server keeps its message only; the router's own errors have a code."""
    lab = await start_lab(router=True)
    refused = await lab.http(ME, headers={})
    assert refused.error["message"] == "Not authorized"
    assert "code" not in refused.error
    assert "extensions" not in refused.error
    invalid = await lab.http("{ nonsense }")
    assert (invalid.status, invalid.error["extensions"]) == (400, {"code": "GRAPHQL_VALIDATION_FAILED"})


async def test_subscriptions_are_not_served_over_http(lab: Lab) -> None:
    """They belong on the socket."""
    assert (await lab.http(UPDATES)).status == 400


@pytest.mark.parametrize("path", ["/", "/graphqlws"])
async def test_other_paths_do_not_exist(lab: Lab, path: str) -> None:
    """Only /graphql and /control answer."""
    async with lab.session.get(lab.sandbox.server.replace("/graphql", path)) as response:
        assert response.status == 404


GOT = 'Variable "$input" got invalid value'
UNKNOWN_FIELD = 'Field "memmo" is not defined by type "LnUsdInvoiceCreateInput". Did you mean "memo"?'
OBJECT = '{ walletId: "w", memo: "x" }'


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"input": {"walletId": "w", "memo": "x"}},
            f'{GOT} {OBJECT}; Field "amount" of required type "FractionalCentAmount!" was not provided.',
        ),
        (
            {"input": {"walletId": "w", "amount": 1, "memmo": True}},
            f'{GOT} {{ walletId: "w", amount: 1, memmo: true }}; {UNKNOWN_FIELD}',
        ),
        (
            {"input": {"walletId": None, "amount": 1}},
            f'{GOT} null at "input.walletId"; Expected non-nullable type "WalletId!" not to be null.',
        ),
        ({"input": 5}, f'{GOT} 5; Expected type "LnUsdInvoiceCreateInput" to be an object.'),
        ({"input": None}, 'Variable "$input" of non-null type "LnUsdInvoiceCreateInput!" must not be null.'),
        ({}, 'Variable "$input" of required type "LnUsdInvoiceCreateInput!" was not provided.'),
    ],
)
async def test_wrong_input_is_told_as_apollo_tells_it(lab: Lab, variables: dict[str, Any], message: str) -> None:
    """HTTP 400 without `data`, in the sentences of the server's own GraphQL library; nothing was carried out."""
    reply = await lab.http(CREATE, **variables)
    assert (reply.status, "data" in reply.body) == (400, False)
    assert (reply.error["code"], reply.error["message"]) == ("BAD_USER_INPUT", message)


async def test_a_deleted_invoice_is_expired_though_it_was_paid(start_lab: StartLab, clock: Clock) -> None:
    """What the custodian has deleted is an error until the BOLT11 expires, and EXPIRED from then on."""
    lab = await start_lab(clock=clock)
    invoice = await lab.invoice()
    lab.sandbox.pay(invoice["paymentRequest"])
    assert await lab.control("POST", "purge", {"payment_hash": invoice["paymentHash"]}) == (200, {})
    assert (await lab.status(invoice["paymentRequest"])).error["code"] == "IBEX_ERROR"
    clock.advance(seconds=61)
    assert (await lab.status(invoice["paymentRequest"])).data["lnInvoicePaymentStatus"]["status"] == "EXPIRED"
    assert (await lab.control("POST", "purge", {"payment_hash": "ab" * 32}))[0] == 404
