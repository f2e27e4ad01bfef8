"""Plain clients for the sandbox, which know GraphQL and its WebSocket protocol but nothing of the driver."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AsyncExitStack

    from flash_driver.sandbox import Sandbox

TIMEOUT: Final = 10.0
"""Seconds after which a test gives up; nothing is expected to take anywhere near that long."""

CAPABLE: Final = {"x-flash-client-capabilities": "cash-wallet-usdt-v1"}
"""The header of a client that understands USDT wallets."""

CREATE: Final = """
mutation Create($input: LnUsdInvoiceCreateInput!) {
  lnUsdInvoiceCreate(input: $input) {
    errors { message code path }
    invoice { paymentRequest paymentHash paymentSecret satoshis }
  }
}
"""
CREATE_AMOUNTLESS: Final = """
mutation CreateAmountless($input: LnNoAmountInvoiceCreateInput!) {
  lnNoAmountInvoiceCreate(input: $input) {
    errors { message code }
    invoice { paymentRequest paymentHash paymentSecret }
  }
}
"""
STATUS: Final = """
query Status($input: LnInvoicePaymentStatusInput!) {
  lnInvoicePaymentStatus(input: $input) { errors { message code } status }
}
"""
WATCH: Final = """
subscription Watch($input: LnInvoicePaymentStatusInput!) {
  lnInvoicePaymentStatus(input: $input) { errors { message code } status }
}
"""
SEND: Final = """
mutation Send($input: LnInvoicePaymentInput!) {
  lnInvoicePaymentSend(input: $input) { errors { message code } status }
}
"""
UPDATES: Final = """
subscription Updates {
  myUpdates {
    errors { message code }
    me { username }
    update {
      __typename
      ... on LnUpdate { paymentHash status walletId }
      ... on RealtimePrice { denominatorCurrency btcSatPrice { base offset } }
      ... on Price { formattedAmount }
    }
  }
}
"""
ME: Final = (
    "query Me { me { id defaultAccount { id defaultWalletId wallets { id walletCurrency balance isExternal } } } }"
)


@dataclass(frozen=True)
class Reply:
    """What HTTP answered."""

    status: int
    content_type: str
    body: Any

    @property
    def data(self) -> Any:
        """The data of an answer without errors."""
        assert self.status == 200, self.body
        assert "errors" not in self.body, self.body
        return self.body["data"]

    @property
    def error(self) -> Any:
        """The one error of an answer."""
        (error,) = self.body["errors"]
        return error


async def until(fact: Callable[[], bool]) -> None:
    """Wait for something that shows in the sandbox's books only."""
    async with asyncio.timeout(TIMEOUT):
        while not fact():  # noqa: ASYNC110 - the books are what is tested, and they ring no wakeup
            await asyncio.sleep(0.001)


class Socket:
    """A WebSocket on which frames are sent and received one by one."""

    def __init__(self, connection: ClientWebSocketResponse) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        """Send a frame."""
        await self.connection.send_json(message)

    async def receive(self) -> Any:
        """Wait for a frame."""
        return await self.connection.receive_json(timeout=TIMEOUT)

    async def closed(self) -> tuple[int | None, str]:
        """Wait for the end of the connection; give back code and reason of its close frame, if there was one."""
        while True:
            message = await self.connection.receive(timeout=TIMEOUT)
            if message.type is WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in {WSMsgType.CLOSED, WSMsgType.ERROR}:
                return None, ""

    async def init(self, payload: Mapping[str, Any] | None = None) -> None:
        """Introduce oneself, and wait to be acknowledged."""
        await self.send(type="connection_init", payload=dict(payload or {}))
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, operation_id: str, query: str, **variables: Any) -> None:
        """Send an operation."""
        await self.send(id=operation_id, type="subscribe", payload={"query": query, "variables": variables})

    async def ask(self, operation_id: str, query: str, **variables: Any) -> Any:
        """Send an operation, and wait for its one answer and its completion."""
        await self.subscribe(operation_id, query, **variables)
        answer = await self.receive()
        assert answer["id"] == operation_id
        assert await self.receive() == {"id": operation_id, "type": "complete"}
        return answer["payload"]

    async def event(self, typename: str) -> Any:
        """Wait for an update of a type on `myUpdates`, whatever comes before."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                payload = (await self.receive())["payload"]["data"]["myUpdates"]
                if payload["update"] and payload["update"]["__typename"] == typename:
                    return payload["update"]


class Lab:
    """A sandbox together with clients of it."""

    def __init__(self, sandbox: Sandbox, session: ClientSession, stack: AsyncExitStack) -> None:
        self.sandbox = sandbox
        self.session = session
        self._stack = stack
        self.bearer = {"Authorization": f"Bearer {sandbox.token}"}

    async def post(self, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """Post anything to the GraphQL endpoint."""
        content = {"data": body} if isinstance(body, (str, bytes)) else {"json": body}
        async with self.session.post(self.sandbox.server, headers=headers, **content) as response:
            json = response.content_type == "application/json"
            payload = await (response.json() if json else response.text())
            return Reply(response.status, response.content_type, payload)

    async def http(self, query: str, *, headers: Mapping[str, str] | None = None, **variables: Any) -> Reply:
        """Ask over HTTP, as the owner unless other headers are given."""
        return await self.post({"query": query, "variables": variables}, self.bearer if headers is None else headers)

    async def create(self, cents: float = 100, **more: Any) -> Any:
        """Create an invoice over HTTP; give back the payload."""
        values = {"walletId": self.sandbox.wallet_id, "amount": cents, **more}
        return (await self.http(CREATE, input=values)).data["lnUsdInvoiceCreate"]

    async def invoice(self, cents: float = 100, **more: Any) -> Any:
        """Create an invoice over HTTP, which must succeed."""
        payload = await self.create(cents, **more)
        assert payload["errors"] == []
        return payload["invoice"]

    async def status(self, payment_request: str) -> Reply:
        """Ask for the state of an invoice."""
        return await self.http(STATUS, input={"paymentRequest": payment_request})

    async def pay(self, payment_request: str, **more: Any) -> Any:
        """Pay from the default wallet; give back the payload."""
        values = {"walletId": self.sandbox.wallet_id, "paymentRequest": payment_request, **more}
        return (await self.http(SEND, input=values)).data["lnInvoicePaymentSend"]

    async def socket(self, payload: Mapping[str, Any] | None = None) -> Socket:
        """Open a socket and introduce oneself, as the owner unless another payload is given."""
        socket = await self.raw_socket()
        await socket.init(self.bearer if payload is None else payload)
        return socket

    async def raw_socket(self, *protocols: str, **more: Any) -> Socket:
        """Open a socket and say nothing."""
        connecting = self.session.ws_connect(
            self.sandbox.websocket, protocols=protocols or ("graphql-transport-ws",), **more
        )
        return Socket(await self._stack.enter_async_context(connecting))

    async def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Use the control endpoint."""
        async with self.session.request(method, f"{self.sandbox.control}/{path}", json=body) as response:
            return response.status, await response.json()

    async def struck(self) -> None:
        """Wait until no fault is armed any more."""
        await until(lambda: self.sandbox.ledger_snapshot()["faults_armed"] == 0)

    def counted(self, field: str, transport: str) -> tuple[int, int]:
        """How often an operation reached the server, and how often it was executed."""
        ledger = self.sandbox.ledger_snapshot()
        none = {transport: 0}
        return ledger["operations"].get(field, none)[transport], ledger["executed"].get(field, none)[transport]
