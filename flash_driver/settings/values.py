"""What settings may say, for those who act on it; the checks, and pydantic with them, are in `account`."""

from __future__ import annotations

from enum import Enum

__all__ = ["DescriptionHashPolicy", "TokenKind"]


class TokenKind(Enum):
    """What a token is, by its look (flash-server.md 1.4)."""

    SESSION = "ory session token"
    API_KEY = "Flash API key"
    BEARER = "bearer token"


class DescriptionHashPolicy(Enum):
    """What to do when the server makes an invoice without the description hash asked for."""

    PREFER = "prefer"
    REQUIRE = "require"
