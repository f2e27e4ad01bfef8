"""The examination: every check in its order, and what they amount to. Nothing is created, nothing is paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from connection_strings.errors import ConnectionStringError
from connection_strings.grammar import ConnectionString
from flash_driver._version import __version__
from flash_driver.doctor.findings import NotApplicable, Trouble
from flash_driver.doctor.http_routes import RouteFindings, check_clock, check_price, check_wallet, examine_route
from flash_driver.doctor.journal import check_journal
from flash_driver.doctor.network import Place, reach
from flash_driver.doctor.websocket import STEPS, SocketFindings, examine_socket
from flash_driver.settings.account import FlashSettings
from flash_driver.settings.process import ProcessSettings
from flash_driver.settings.values import TokenKind
from flash_driver.transports.call_log import shown
from flash_driver.transports.delivery import LOG_IN_AGAIN
from flash_driver.transports.gql_client import GraphQLTransport
from flash_driver.transports.http import HttpTransport
from flash_driver.transports.network import make_tls_context
from flash_driver.transports.public import PublicTransport
from flash_driver.transports.session import Session
from flash_driver.transports.transport_set import CAPABILITIES, CAPABILITY_HEADER
from flash_driver.transports.websocket.handshake import Endpoint
from flash_driver.transports.websocket.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.doctor.findings import Examination
    from flash_driver.transports.base import Transport

__all__ = ["examine"]

_API_KEY: Final = (
    "The token opens the socket, which takes no mutations, and HTTP does not take the token: make an API key (fk_...) "
    "in the Flash app, with the scopes read:user, write:wallet and read:transactions, and use it as the token; HTTP "
    "takes that."
)
_ROUTES: Final = {"http": "HTTP route", "graphql": "GraphQL client route", "public": "public API"}
_AFTER_THE_STRING: Final = (
    "DNS",
    "TCP",
    "TLS",
    *STEPS,
    *_ROUTES.values(),
    "token",
    "wallet",
    "price",
    "clock",
    "journal",
)


async def examine(examination: Examination, text: str) -> None:
    """Examine what a connection string leads to."""
    settings: FlashSettings | None = None
    async with examination.check("string", if_late="") as row:
        settings = _read(text)
        row.found = f"type=flash, {settings.token_kind.value}"
    if settings is None:
        for name in _AFTER_THE_STRING:
            examination.skip(name, "the row `string` comes first")
        return
    await _Patient(examination, settings).examine()


class _Patient:
    """One server as one token sees it."""

    def __init__(self, examination: Examination, settings: FlashSettings) -> None:
        self._examination = examination
        self._settings = settings
        secure = settings.server.startswith("https:") or settings.websocket.startswith("wss:")
        self._tls = make_tls_context() if secure else None
        token = settings.token.reveal()
        bearer = {"Authorization": f"Bearer {token}"}
        credential = {"X-API-KEY": token} if settings.token_kind is TokenKind.API_KEY else bearer
        self._headers = {
            **credential,
            CAPABILITY_HEADER: CAPABILITIES,
            "User-Agent": f"flash-driver/{__version__} doctor",
        }
        init = {**bearer, CAPABILITY_HEADER: CAPABILITIES}
        socket_tls = self._tls if settings.websocket.startswith("wss:") else None
        self._endpoint = Endpoint(settings.websocket, self._headers, init, socket_tls)
        self._account_socket = SocketTransport(self._endpoint)

    async def examine(self) -> None:
        """Carry out all checks behind the connection string."""
        try:
            await self._examine()
        finally:
            await self._account_socket.aclose()

    async def _examine(self) -> None:
        server, websocket = Place.of(self._settings.server), Place.of(self._settings.websocket)
        reached = {place: await reach(self._examination, place) for place in dict.fromkeys((server, websocket))}
        socket = await self._socket(reachable=reached[websocket])
        routes = {name: await self._route(name, reachable=reached[server]) for name in _ROUTES}
        await self._token(socket, routes)
        answered: dict[str, Mapping[str, Any] | None] = {"websocket": socket.account}
        answered |= {name: route.account for name, route in routes.items()}
        works = [str(name) for name in self._settings.transports if answered[name] is not None]
        account = answered[works[0]] if works else None
        has_wallet = await check_wallet(self._examination, account, self._settings)
        await check_price(self._examination, self._transport(works[0]) if works else None)
        await check_clock(self._examination, self._settings.server, self._tls, reachable=reached[server])
        remembers = await check_journal(self._examination)
        self._examination.creates = works if has_wallet and remembers else []
        hears = ["subscription"] if socket.hears else []
        self._examination.hears = hears + (["asking"] if works else [])
        refused = all(routes[name].authenticated is False for name in ("http", "graphql"))
        if socket.authenticated and not works and refused:
            self._examination.way_out = _API_KEY

    async def _socket(self, *, reachable: bool) -> SocketFindings:
        why = None
        if "websocket" not in self._settings.transports:
            why = "transports= leaves it out"
        elif self._settings.token_kind is TokenKind.API_KEY:
            why = "an API key opens no WebSocket"
        elif not reachable:
            why = "the server is not reached"
        if why is None:
            return await examine_socket(self._examination, self._endpoint)
        for name in STEPS:
            self._examination.skip(name, why)
        return SocketFindings()

    async def _route(self, name: str, *, reachable: bool) -> RouteFindings:
        if name not in self._settings.transports:
            self._examination.skip(_ROUTES[name], "transports= leaves it out")
        elif name == "public" and self._settings.token_kind is TokenKind.API_KEY:
            self._examination.skip(_ROUTES[name], "an API key opens no WebSocket to learn the account by")
        elif not reachable:
            self._examination.skip(_ROUTES[name], "the server is not reached")
        else:
            return await examine_route(self._examination, _ROUTES[name], self._transport(name), self._settings)
        return RouteFindings()

    def _transport(self, name: str) -> Transport:
        if name == "websocket":
            return SocketTransport(self._endpoint)
        tls = self._tls if self._settings.server.startswith("https:") else None
        if name == "public":
            shown = {key: value for key, value in self._headers.items() if key not in ("Authorization", "X-API-KEY")}
            below = HttpTransport(self._settings.server, shown, tls)
            return PublicTransport(below, Session(self._account_socket))
        make = HttpTransport if name == "http" else GraphQLTransport
        return make(self._settings.server, self._headers, tls)

    async def _token(self, socket: SocketFindings, routes: Mapping[str, RouteFindings]) -> None:
        """Put together who takes the token: one way that does is proof, an ack is none (flash-server.md 1.3)."""
        # The public way has no opinion of its own: it learns the account by the socket.
        asked = {name: route.authenticated for name, route in routes.items() if name != "public"}
        verdicts = {"websocket": socket.authenticated} | asked
        takes = [shown(name) for name, verdict in verdicts.items() if verdict]
        refuses = [shown(name) for name, verdict in verdicts.items() if verdict is False]
        kind = self._settings.token_kind
        async with self._examination.check("token", if_late="") as row:
            if not takes and not refuses:
                raise NotApplicable("no way answered that would have told")
            # A socket may have become anonymous by accident, so its word alone does not make a token dead.
            if not takes and refuses == [shown("websocket")]:
                raise Trouble(
                    "the socket does not know it, and HTTP could not be asked", f"try again later; then {LOG_IN_AGAIN}"
                )
            if not takes:
                raise Trouble(f"{kind.value}, refused by {', '.join(refuses)}", LOG_IN_AGAIN)
            row.found = f"{kind.value}, taken by {', '.join(takes)}"
            if kind is TokenKind.API_KEY:
                row.advice = (
                    "whether it may create invoices shows with the first one: it needs the scopes read:user, "
                    "write:wallet and, for amountless invoices, read:transactions"
                )


def _read(text: str) -> FlashSettings:
    try:
        ProcessSettings.from_environment()
    except ConnectionStringError as error:
        raise Trouble(
            str(error), "that stands in the environment of this process; the connection string has no part in it"
        ) from None
    try:
        parsed = ConnectionString.parse(text)
        if parsed.type != "flash":
            raise Trouble(f"type={parsed.type}", "this doctor knows type=flash only")
        return FlashSettings.from_connection_string(parsed)
    except ConnectionStringError as error:
        advice = "the line reads type=flash;server=https://api.flashapp.me/graphql;token=ory_st_..."
        raise Trouble(str(error), advice) from None
