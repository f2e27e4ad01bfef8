"""Who a credential belongs to, on each transport (flash-server.md 1.3 and 1.4)."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flash_driver.sandbox.bank.api_keys import ApiKey, new_api_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.sandbox.bank.bank import Bank
    from flash_driver.sandbox.bank.ledger import Account

__all__ = ["CAPABILITY_HEADER", "UNAUTHORIZED_BODY", "BadCredentialError", "Caller", "Credentials", "is_capable"]

CAPABILITY_HEADER: Final = "x-flash-client-capabilities"
UNAUTHORIZED_BODY: Final = {
    "error": {"code": 401, "status": "Unauthorized", "message": "Access credentials are invalid"}
}

_CAPABILITY: Final = "cash-wallet-usdt-v1"
_SCHEME: Final = "Bearer "
_ALPHANUMERIC: Final = string.ascii_letters + string.digits


class BadCredentialError(Exception):
    """The gateway turns the request away; GraphQL never sees it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: an account, by its session or by an API key, or nobody."""

    account: Account | None = None
    key: ApiKey | None = None


class Credentials:
    """The sessions of one sandbox, and what stands behind the headers of a request.

    Attributes:
        token: The owner's session token.
        api_key: The owner's API key.
        stranger_token: Another user's session token.

    """

    def __init__(self, bank: Bank) -> None:
        options, self._bank = bank.options, bank
        self._bearer_refused = options.http_bearer == "reject"
        self.token = options.token or _new_token()
        self.api_key = options.api_key or new_api_key()
        self.stranger_token = _new_token()
        self._by_token = {self.token: bank.owner, self.stranger_token: bank.stranger}
        self._unfinished: dict[str, Account] = {}
        self._expired: set[str] = set()
        self._sessions: dict[str, Account | None] = {}
        scopes, limit, now = options.api_key_scopes, options.api_key_limit, bank.clock()
        bank.keys.add(ApiKey(bank.owner, self.api_key, "Sandbox", scopes, now, limit))

    def log_in(self, *, finished: bool = True) -> str:
        """Open a further session of the owner's, and return its token; unfinished, it still waits for a TOTP code."""
        token = _new_token()
        (self._by_token if finished else self._unfinished)[token] = self._bank.owner
        return token

    def finish(self, token: str) -> bool:
        """Let a session that waited for a TOTP code begin; False if there is none."""
        account = self._unfinished.pop(token, None)
        if account is not None:
            self._by_token[token] = account
        return account is not None

    def expire(self, *, expired: bool = True) -> None:
        """Let the owner's session end, or begin again; sockets that are open keep their session."""
        self._expired = {self.token} if expired else set()

    def revoke_api_key(self) -> None:
        """End the owner's API key for good."""
        key = self._bank.keys.find(self.api_key, self._bank.clock())
        if key is not None:
            key.revoked = True

    def of_request(self, headers: Mapping[str, str]) -> Caller:
        """Find out who sent an HTTP request: nobody, where there is no credential.

        Raises:
            BadCredentialError: There is a credential, and the gateway doesn't take it.

        """
        authorization, key = headers.get("Authorization"), headers.get("X-API-KEY")
        if authorization is not None:
            token = authorization.removeprefix(_SCHEME)
            account = self._account(token)
            if account is None or token == authorization or (self._bearer_refused and token.startswith("ory_st_")):
                raise BadCredentialError
            return Caller(account)
        if key is not None:
            found = self._bank.keys.find(key, self._bank.clock())
            if found is None:
                raise BadCredentialError
            return Caller(found.account, found)
        return Caller()

    def open_session(self, payload: Mapping[str, Any]) -> str:
        """Read `connection_init`; give back the name under which the session is found from now on.

        Flash keeps sessions in one map by their whole header, so a later socket with the same header replaces the
        session of the earlier ones. The first seven characters are cut off unseen.
        """
        header = payload.get("Authorization")
        if not isinstance(header, str):
            return ""
        self._sessions[header] = self._account(header[len(_SCHEME) :])
        return header

    def of_session(self, session: str) -> Account | None:
        """Find whose socket it is, now."""
        return self._sessions.get(session)

    def _account(self, token: str) -> Account | None:
        return None if token in self._expired else self._by_token.get(token)


def is_capable(*announcements: object) -> bool:
    """Whether one of a client's capability lists names the USDT wallet."""
    return any(
        isinstance(each, str) and _CAPABILITY in {name.strip().lower() for name in each.split(",")}
        for each in announcements
    )


def _new_token() -> str:
    return "ory_st_" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(32))
