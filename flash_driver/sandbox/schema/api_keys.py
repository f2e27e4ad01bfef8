"""Flash's API keys as a session manages them (flash-server.md 16; Flash: `docs/api-keys/USAGE.md`)."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

from datetime import datetime
from enum import Enum
from typing import Self

import strawberry

from flash_driver.sandbox.bank import api_keys
from flash_driver.sandbox.bank.ledger import Account
from flash_driver.sandbox.bank.refusals import Refused
from flash_driver.sandbox.schema.context import Info
from flash_driver.sandbox.schema.resolving import told
from flash_driver.sandbox.schema.scalars import Timestamp
from flash_driver.sandbox.schema.types import Error

__all__ = [
    "ApiKey",
    "ApiKeyCreateInput",
    "ApiKeyCreatePayload",
    "ApiKeyCreated",
    "ApiKeyMutations",
    "ApiKeyRevokeInput",
    "ApiKeyRevokePayload",
    "ApiKeyScope",
    "ApiKeyStatus",
    "session_only",
]


@strawberry.enum
class ApiKeyScope(Enum):
    """What a key may do; GraphQL allows no colon in these names."""

    read_wallet = "read:wallet"
    write_wallet = "write:wallet"
    read_transactions = "read:transactions"
    write_transactions = "write:transactions"
    read_user = "read:user"
    write_user = "write:user"
    admin = "admin"


@strawberry.enum
class ApiKeyStatus(Enum):
    """Whether a key works."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


@strawberry.type
class ApiKey:
    """A key without its secret."""

    id: strawberry.ID
    key_id: str
    name: str
    scopes: list[ApiKeyScope]
    rate_limit_per_minute: int | None
    status: ApiKeyStatus
    last_used_at: Timestamp | None
    expires_at: Timestamp | None
    created_at: Timestamp

    @classmethod
    def of(cls, key: api_keys.ApiKey, now: datetime) -> Self:
        """Show a key."""
        return cls(
            id=strawberry.ID(key.id),
            key_id=key.key_id,
            name=key.name,
            scopes=[ApiKeyScope(scope) for scope in key.scopes],
            rate_limit_per_minute=key.limit,
            status=ApiKeyStatus(key.status(now)),
            last_used_at=_seconds(key.last_used_at),
            expires_at=_seconds(key.expires_at),
            created_at=Timestamp(int(key.created_at.timestamp())),
        )


@strawberry.type
class ApiKeyCreated:
    """A new key; its secret is never told again."""

    id: strawberry.ID
    key_id: str
    name: str
    api_key: str
    scopes: list[ApiKeyScope]
    rate_limit_per_minute: int | None
    expires_at: Timestamp | None
    warning: str = "Store this key securely. It won't be shown again."


@strawberry.input
class ApiKeyCreateInput:
    """A key that is wanted; `expires_in` is in seconds."""

    name: str
    scopes: list[ApiKeyScope] | None = strawberry.field(default_factory=lambda: [ApiKeyScope.read_user])
    expires_in: int | None = None
    rate_limit_per_minute: int | None = None


@strawberry.type
class ApiKeyCreatePayload:
    """The answer to that wish."""

    errors: list[Error]
    api_key: ApiKeyCreated | None = None


@strawberry.input
class ApiKeyRevokeInput:
    """A key that is to end; by its `id`, not its `keyId`."""

    id: strawberry.ID


@strawberry.type
class ApiKeyRevokePayload:
    """The key that has ended."""

    errors: list[Error]
    api_key: ApiKey | None = None


def session_only(info: Info, field: str) -> Account:
    """Give the account of a session; no key may do this, whatever its scopes."""
    info.context.authorise(None, field)
    return info.context.authenticated()


def _seconds(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else Timestamp(int(moment.timestamp()))


@strawberry.type
class ApiKeyMutations:
    """Making and ending keys."""

    @strawberry.mutation
    def api_key_create(self, info: Info, input: ApiKeyCreateInput) -> ApiKeyCreatePayload:
        """Make a key."""
        account, bank = session_only(info, "apiKeyCreate"), info.context.bank
        scopes = [scope.value for scope in (input.scopes or [ApiKeyScope.read_user])]
        try:
            key = bank.keys.create(
                account,
                input.name,
                scopes,
                bank.clock(),
                limit=input.rate_limit_per_minute,
                expires_in=input.expires_in,
            )
        except Refused as refusal:
            return ApiKeyCreatePayload(errors=told(refusal))
        created = ApiKeyCreated(
            id=strawberry.ID(key.id),
            key_id=key.key_id,
            name=key.name,
            api_key=key.secret,
            scopes=[ApiKeyScope(scope) for scope in key.scopes],
            rate_limit_per_minute=key.limit,
            expires_at=_seconds(key.expires_at),
        )
        return ApiKeyCreatePayload(errors=[], api_key=created)

    @strawberry.mutation
    def api_key_revoke(self, info: Info, input: ApiKeyRevokeInput) -> ApiKeyRevokePayload:
        """End a key for good."""
        account, bank = session_only(info, "apiKeyRevoke"), info.context.bank
        try:
            key = bank.keys.revoke(account, input.id)
        except Refused as refusal:
            return ApiKeyRevokePayload(errors=told(refusal))
        return ApiKeyRevokePayload(errors=[], api_key=ApiKey.of(key, bank.clock()))
