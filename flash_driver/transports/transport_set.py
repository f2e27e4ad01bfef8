"""The ways to one server for one token, shared by every account and client that has both in common."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from flash_driver._version import __version__
from flash_driver.settings.values import TokenKind
from flash_driver.transports.network import make_tls_context
from flash_driver.transports.post import PostTransport
from flash_driver.transports.public import PublicTransport
from flash_driver.transports.session import Session
from flash_driver.transports.websocket.handshake import Endpoint
from flash_driver.transports.websocket.transport import SocketTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Operation
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.settings.account import FlashSettings
    from flash_driver.transports.base import Transport
    from flash_driver.transports.session import SessionTiming
    from flash_driver.transports.websocket.handshake import Limits

__all__ = ["CAPABILITIES", "CAPABILITY_HEADER", "TransportSet"]

CAPABILITY_HEADER: Final = "x-flash-client-capabilities"
CAPABILITIES: Final = "cash-wallet-usdt-v1"
"""Shows an account's USDT wallet after the server's move away from USD wallets (flash-server.md 1.5, 3.2)."""


class TransportSet:
    """Transports, made when first asked for; none connects before it is used.

    Args:
        settings: Names server and token; what else it says is the asking account's own business.
        limits: How long a WebSocket connection waits and how much it holds.
        session: How long things count when it is found out whether the token still lives.

    """

    def __init__(
        self, settings: FlashSettings, limits: Limits | None = None, session: SessionTiming | None = None
    ) -> None:
        token = settings.token.reveal()
        self._settings = settings
        self._limits = limits
        self._opens_socket = settings.token_kind is not TokenKind.API_KEY
        credential = {"Authorization": f"Bearer {token}"} if self._opens_socket else {"X-API-KEY": token}
        self._credential = credential
        self._headers = {**credential, CAPABILITY_HEADER: CAPABILITIES, "User-Agent": f"flash-driver/{__version__}"}
        secure = settings.server.startswith("https:") or settings.websocket.startswith("wss:")
        self._tls = make_tls_context() if secure else None
        self._made: dict[str, Transport] = {}
        self._session_timing = session
        self._session = Session(self._socket if self._opens_socket else None, session)

    @property
    def _socket(self) -> SocketTransport:
        if not isinstance(socket := self._transport("websocket"), SocketTransport):
            raise TypeError("the way `websocket` is no SocketTransport")
        return socket

    def session(self, settings: FlashSettings) -> Session:
        """Return what an account learns of its token: by sockets too, if its ways use any."""
        return (
            self._session
            if {"websocket", "public"} & set(settings.transports)
            else Session(timing=self._session_timing)
        )

    def choose(self, settings: FlashSettings) -> list[Transport]:
        """Return the transports of an account in the order in which it tries them.

        A socket is none with an API key: the server does not read it there (flash-server.md 1.3).
        """
        chosen = [self._transport(name) for name in settings.transports if name != "websocket" or self._opens_socket]
        for transport in chosen:
            if isinstance(transport, SocketTransport):
                transport.widen(settings.pool_size)
        return chosen

    async def aclose(self) -> None:
        """Close every connection, whichever of them fails to."""
        made, self._made = self._made, {}
        async with contextlib.AsyncExitStack() as each:
            each.push_async_callback(self._session.aclose)
            for transport in made.values():
                each.push_async_callback(transport.aclose)

    def _transport(self, name: str) -> Transport:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Transport:
        if name == "websocket":
            init = {**self._credential, CAPABILITY_HEADER: CAPABILITIES}
            tls = self._tls if self._settings.websocket.startswith("wss:") else None
            return SocketTransport(Endpoint(self._settings.websocket, self._headers, init, tls), self._limits)
        tls = self._tls if self._settings.server.startswith("https:") else None
        if name == "public":
            shown = {name: value for name, value in self._headers.items() if name not in self._credential}
            return PublicTransport(_LoadedLater("http", self._settings.server, shown, tls), self._session)
        return _LoadedLater(name, self._settings.server, self._headers, tls)


class _LoadedLater(PostTransport):
    """A way over HTTP whose library is loaded with the first request that goes over it: most processes need one of two.

    Args:
        name: The way's name: `http` or `graphql`.
        url: As for any of them.
        headers: As for any of them.
        tls: As for any of them.

    """

    def __init__(self, name: str, url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> None:
        super().__init__(url, headers, tls)
        self.name = name
        self._way: PostTransport | None = None

    async def post(self, operation: Operation, connected_by: Deadline, deadline: Deadline) -> Evidence:
        """Post an operation."""
        if self._way is None:
            self._way = self._load()
        return await self._way.post(operation, connected_by, deadline)

    async def close_connections(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._way is not None:
            await self._way.aclose()

    def _load(self) -> PostTransport:
        if self.name == "http":
            from flash_driver.transports.http import HttpTransport  # noqa: PLC0415 - loads aiohttp

            return HttpTransport(self._url, self._headers, self._tls)
        from flash_driver.transports.gql_client import GraphQLTransport  # noqa: PLC0415 - loads gql and httpx

        return GraphQLTransport(self._url, self._headers, self._tls)
