"""API keys: what they may do, how long, and how often (flash-server.md 1.4 and 16)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from uuid import uuid4

from flash_driver.sandbox.bank.refusals import InvalidInput, Refused, unexpected
from flash_driver.sandbox.options import DEFAULT_KEY_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flash_driver.sandbox.bank.ledger import Account

__all__ = ["ApiKey", "ApiKeys", "KeyStatus", "KeyUse", "new_api_key"]

KeyStatus: TypeAlias = Literal["ACTIVE", "REVOKED", "EXPIRED"]

_MAX_LIMIT: Final = 10_000
_MAX_KEYS: Final = 10
_WINDOW: Final = timedelta(minutes=1)
_NAME: Final = re.compile("[a-zA-Z0-9-_ ]+")
_NAME_LENGTHS: Final = (3, 50)


def new_api_key() -> str:
    """Make the text of a key: `fk_`, its public id, its secret."""
    return f"fk_{secrets.token_hex(4)}_{secrets.token_urlsafe(48)}"


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What one request cost a key.

    Attributes:
        limit: Requests per minute.
        remaining: How many of them are left in this window.
        resets_at: When the window ends.
        allowed: Whether the request may go on.

    """

    limit: int
    remaining: int
    resets_at: datetime
    allowed: bool


@dataclass(slots=True)
class ApiKey:
    """One key of an account."""

    account: Account
    secret: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    limit: int | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked: bool = False
    id: str = field(default_factory=lambda: str(uuid4()))
    _window_ends: datetime | None = None
    _used: int = 0

    @property
    def key_id(self) -> str:
        """The part of the key that may be shown."""
        return self.secret.split("_")[1] if self.secret.startswith("fk_") else ""

    def status(self, now: datetime) -> KeyStatus:
        """Tell whether it works."""
        if self.revoked:
            return "REVOKED"
        return "EXPIRED" if self.expires_at is not None and self.expires_at <= now else "ACTIVE"

    def grants(self, scope: str) -> bool:
        """Whether the key may do this: writing includes reading, `admin` includes all."""
        return bool({"admin", scope, scope.replace("read:", "write:")} & set(self.scopes))

    def spend(self, now: datetime) -> KeyUse:
        """Count a request, whatever it asks for."""
        if self._window_ends is None or self._window_ends <= now:
            self._window_ends, self._used = now + _WINDOW, 0
        self._used += 1
        self.last_used_at = now
        limit = self.limit or DEFAULT_KEY_LIMIT
        return KeyUse(limit, max(0, limit - self._used), self._window_ends, self._used <= limit)


class ApiKeys:
    """The keys of all accounts."""

    def __init__(self) -> None:
        self._keys: list[ApiKey] = []

    def add(self, key: ApiKey) -> ApiKey:
        """Enter a key as it is."""
        self._keys.append(key)
        return key

    def create(
        self,
        account: Account,
        name: str,
        scopes: Iterable[str],
        now: datetime,
        *,
        limit: int | None = None,
        expires_in: int | None = None,
    ) -> ApiKey:
        """Make a new key, as `apiKeyCreate` does.

        Raises:
            InvalidInput: The name, the scopes or the limit are not as Flash wants them, or there are too many keys.

        """
        shortest, longest = _NAME_LENGTHS
        if len(name) < shortest:
            raise InvalidInput("API key name must be at least 3 characters")
        if len(name) > longest:
            raise InvalidInput("API key name must be less than 50 characters")
        if not _NAME.fullmatch(name):
            raise InvalidInput("API key name can only contain letters, numbers, spaces, hyphens, and underscores")
        chosen = tuple(scopes)
        if not chosen:
            raise InvalidInput("At least one scope is required")
        if limit is not None and not 1 <= limit <= _MAX_LIMIT:
            raise InvalidInput("API key rate limit must be an integer between 1 and 10000 requests per minute")
        if sum(each.status(now) == "ACTIVE" for each in self.of(account)) >= _MAX_KEYS:
            raise InvalidInput(f"Maximum number of API keys ({_MAX_KEYS}) reached. Please revoke unused keys.")
        expires_at = now + timedelta(seconds=expires_in) if expires_in else None
        return self.add(ApiKey(account, new_api_key(), name, chosen, now, limit, expires_at))

    def of(self, account: Account) -> list[ApiKey]:
        """List an account's keys, the newest first."""
        return [each for each in reversed(self._keys) if each.account is account]

    def find(self, secret: str, now: datetime) -> ApiKey | None:
        """Find a key that works."""
        return next((each for each in self._keys if each.secret == secret and each.status(now) == "ACTIVE"), None)

    def revoke(self, account: Account, key_id: str) -> ApiKey:
        """End a key of the account's for good.

        Raises:
            Refused: The account has no such key.

        """
        for key in self.of(account):
            if key.id == key_id:
                key.revoked = True
                return key
        raise Refused(unexpected("CouldNotFindApiKeyError"), "UNEXPECTED_CLIENT_ERROR")
