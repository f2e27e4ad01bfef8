"""The GraphQL operations by which a person gets a credential: logging in, and making API keys.

The driver itself never uses them; the commands `flash-driver login` and `flash-driver api-key` do (flash-server.md 16).
"""

from __future__ import annotations

from typing import Final

from flash_driver.flash_api.documents import Document
from flash_driver.flash_api.outcomes import Kind

__all__ = ["API_KEYS", "API_KEY_CREATE", "API_KEY_REVOKE", "LOGIN"]

_ERRORS: Final = "errors { message code }"

LOGIN: Final = Document(
    "UserLogin",
    Kind.ASK,
    f"""mutation UserLogin($input: UserLoginInput!) {{
      userLogin(input: $input) {{ {_ERRORS} authToken totpRequired }}
    }}""",
    "userLogin",
)
"""A session token for a phone and the code that came to it."""

API_KEYS: Final = Document(
    "ApiKeys", Kind.ASK, "query ApiKeys { apiKeys { id keyId name scopes status expiresAt lastUsedAt } }"
)
"""The account's API keys, without their secrets."""

API_KEY_CREATE: Final = Document(
    "ApiKeyCreate",
    Kind.ASK,
    f"""mutation ApiKeyCreate($input: ApiKeyCreateInput!) {{
      apiKeyCreate(input: $input) {{ {_ERRORS} apiKey {{ id name apiKey scopes expiresAt }} }}
    }}""",
    "apiKeyCreate",
)
"""A new key; its secret is told this once."""

API_KEY_REVOKE: Final = Document(
    "ApiKeyRevoke",
    Kind.ASK,
    f"""mutation ApiKeyRevoke($input: ApiKeyRevokeInput!) {{
      apiKeyRevoke(input: $input) {{ {_ERRORS} apiKey {{ id name status }} }}
    }}""",
    "apiKeyRevoke",
)
"""The end of a key; by its `id`, not its `keyId`."""
