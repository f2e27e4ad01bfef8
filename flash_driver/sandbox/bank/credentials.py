"""Who a credential belongs to, on each transport (flash-server.md 1.3 and 1.4)."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.sandbox.bank.ledger import Account
    from flash_driver.sandbox.options import SandboxOptions

__all__ = ["CAPABILITY_HEADER", "UNAUTHORIZED_BODY", "BadCredentialError", "Credentials", "is_capable"]

CAPABILITY_HEADER: Final = "x-flash-client-capabilities"
UNAUTHORIZED_BODY: Final = {
    "error": {"code": 401, "status": "Unauthorized", "message": "Access credentials are invalid"}
}

_CAPABILITY: Final = "cash-wallet-usdt-v1"
_SCHEME: Final = "Bearer "
_ALPHANUMERIC: Final = string.ascii_letters + string.digits


class BadCredentialError(Exception):
    """The gateway turns the request away; GraphQL never sees it."""


class Credentials:
    """The credentials of one sandbox, and the sessions of its sockets.

    Attributes:
        token: The owner's session token.
        api_key: The owner's API key.
        stranger_token: Another user's session token.

    """

    def __init__(self, options: SandboxOptions, owner: Account, stranger: Account) -> None:
        self._bearer_refused = options.http_bearer == "reject"
        self.token = options.token or _new_token()
        self.api_key = options.api_key or f"fk_{secrets.token_hex(4)}_{secrets.token_urlsafe(48)}"
        self.stranger_token = _new_token()
        self._by_token = {self.token: owner, self.stranger_token: stranger}
        self._by_key = {self.api_key: owner}
        self._expired: set[str] = set()
        self._sessions: dict[str, Account | None] = {}

    def log_in(self) -> str:
        """Open a further session of the owner's, and return its token."""
        token = _new_token()
        self._by_token[token] = self._by_token[self.token]
        return token

    def expire(self, *, expired: bool = True) -> None:
        """Let the owner's session end, or begin again; sockets that are open keep their session."""
        self._expired = {self.token} if expired else set()

    def of_request(self, headers: Mapping[str, str]) -> Account | None:
        """Find whose HTTP request it is: nobody's without a credential.

        Raises:
            BadCredentialError: There is a credential, and the gateway doesn't take it.

        """
        authorization, key = headers.get("Authorization"), headers.get("X-API-KEY")
        if authorization is not None:
            token = authorization.removeprefix(_SCHEME)
            account = self._account(token)
            if account is None or token == authorization or (self._bearer_refused and token.startswith("ory_st_")):
                raise BadCredentialError
            return account
        if key is not None:
            if key not in self._by_key:
                raise BadCredentialError
            return self._by_key[key]
        return None

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
