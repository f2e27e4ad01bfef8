from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.sandbox.clients import CREATE, ME

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import Clock, StartLab

MAKE = """
mutation($input: ApiKeyCreateInput!) {
  payload: apiKeyCreate(input: $input) {
    errors { message code } apiKey { id keyId name apiKey scopes rateLimitPerMinute expiresAt warning }
  }
}
"""
END = """
mutation($input: ApiKeyRevokeInput!) {
  payload: apiKeyRevoke(input: $input) { errors { message code } apiKey { keyId status } }
}
"""
KEYS = "{ apiKeys { id keyId name scopes rateLimitPerMinute status lastUsedAt expiresAt createdAt } }"


async def _made(lab: Lab, **values: Any) -> Any:
    payload = (await lab.http(MAKE, input={"name": "Shop", **values})).data["payload"]
    assert payload["errors"] == []
    return payload["apiKey"]


async def _asked(lab: Lab, key: str, query: str = ME) -> Any:
    return await lab.http(query, headers={"X-API-KEY": key})


async def test_a_key_is_made_listed_and_revoked(lab: Lab) -> None:
    """Its secret is told once; a revoked key is answered with 401."""
    key = await _made(lab, scopes=["read_user", "write_wallet"])
    assert key["apiKey"].startswith(f"fk_{key['keyId']}_")
    assert (await _asked(lab, key["apiKey"])).status == 200
    newest, given = (await lab.http(KEYS)).data["apiKeys"]
    assert (newest["keyId"], newest["status"], newest["scopes"]) == (key["keyId"], "ACTIVE", key["scopes"])
    assert newest["lastUsedAt"] is not None
    assert given["name"] == "Sandbox"
    ended = (await lab.http(END, input={"id": key["id"]})).data["payload"]
    assert ended == {"errors": [], "apiKey": {"keyId": key["keyId"], "status": "REVOKED"}}
    assert (await _asked(lab, key["apiKey"])).status == 401


async def test_the_default_scope_sees_no_wallet(lab: Lab) -> None:
    """A key that was made without scopes may read the user only."""
    key = (await _made(lab))["apiKey"]
    assert (await _asked(lab, key)).error["message"] == "API key missing required scope: read:wallet"
    values = {"input": {"walletId": lab.sandbox.wallet_id, "amount": 1}}
    refused = await lab.post({"query": CREATE, "variables": values}, {"X-API-KEY": key})
    assert (refused.body["data"], refused.error["code"]) == (None, "INTERNAL_SERVER_ERROR")


async def test_a_key_expires(start_lab: StartLab, clock: Clock) -> None:
    """After its seconds it is answered with 401 and listed as EXPIRED."""
    lab = await start_lab(clock=clock)
    key = await _made(lab, expiresIn=60)
    assert key["expiresAt"] == int(clock().timestamp()) + 60
    clock.advance(seconds=60)
    assert (await _asked(lab, key["apiKey"])).status == 401
    assert (await lab.http(KEYS)).data["apiKeys"][0]["status"] == "EXPIRED"


async def test_a_limit_counts_every_request_for_a_minute(start_lab: StartLab, clock: Clock) -> None:
    """Also a harmless one, and one that can't be read; a new minute begins at zero."""
    lab = await start_lab(clock=clock)
    key = (await _made(lab, rateLimitPerMinute=2))["apiKey"]
    assert (await _asked(lab, key, "{ __typename }")).status == 200
    assert (await _asked(lab, key, "{ nothing }")).status == 400
    refused = await _asked(lab, key)
    assert refused.status == 200
    assert refused.error == {
        "message": "API key rate limit exceeded",
        "extensions": {
            "code": "TOO_MANY_REQUESTS",
            "retryAfterSeconds": 60,
            "rateLimit": {"limit": 2, "remaining": 0},
        },
    }
    clock.advance(seconds=60)
    assert (await _asked(lab, key, "{ __typename }")).status == 200


@pytest.mark.parametrize(("field", "document"), [("apiKeys", KEYS), ("apiKeyCreate", MAKE), ("apiKeyRevoke", END)])
async def test_keys_do_not_manage_keys(start_lab: StartLab, field: str, document: str) -> None:
    """Not even with `admin`; and nobody at all may not either."""
    lab = await start_lab(api_key_scopes=("admin",))
    values = {"apiKeyCreate": {"name": "Shop"}, "apiKeyRevoke": {"id": "x"}}.get(field)
    body = {"query": document, "variables": {"input": values}}
    refused = await lab.post(body, {"X-API-KEY": lab.sandbox.api_key})
    assert refused.error["message"] == f"API keys cannot access {field}"
    assert (await lab.post(body, {})).error["code"] == "NOT_AUTHORIZED"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "ab"}, "API key name must be at least 3 characters"),
        ({"name": "x" * 51}, "API key name must be less than 50 characters"),
        ({"name": "café"}, "API key name can only contain letters, numbers, spaces, hyphens, and underscores"),
        ({"rateLimitPerMinute": 0}, "API key rate limit must be an integer between 1 and 10000 requests per minute"),
    ],
)
async def test_keys_that_flash_does_not_make(lab: Lab, values: dict[str, Any], words: str) -> None:
    """The refusal stands in the payload, in Flash's words."""
    payload = (await lab.http(MAKE, input={"name": "Shop", **values})).data["payload"]
    assert payload == {"errors": [{"message": words, "code": "INVALID_INPUT"}], "apiKey": None}


async def test_ten_keys_are_enough(lab: Lab) -> None:
    """The one that the sandbox gave out counts."""
    for _ in range(9):
        await _made(lab)
    payload = (await lab.http(MAKE, input={"name": "Shop"})).data["payload"]
    assert payload["errors"][0]["message"].startswith("Maximum number of API keys (10) reached")
