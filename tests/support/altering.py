"""A server between a client and a sandbox that alters what the sandbox answers, over HTTP and over the socket."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from flash_driver.sandbox import Sandbox

__all__ = ["Altered", "Altering", "Path", "altering", "leaves", "replaced"]

Path = tuple[str | int, ...]
_MARK: Final = "the place of the value"


class Altered:
    """What one client gets instead of what the sandbox answers.

    Attributes:
        connection_string: How that client reaches the sandbox.
        alter: Gets the name of each operation and its answer, and returns the answer as JSON text; None leaves it.
        seen: The last answer of each operation, as the sandbox gave it.

    """

    def __init__(self, connection_string: str) -> None:
        self.connection_string = connection_string
        self.alter: Callable[[str, Any], str | None] = lambda _name, _answer: None
        self.seen: dict[str, Any] = {}

    @contextmanager
    def honest(self) -> Iterator[None]:
        """Alter nothing inside the block."""
        alter, self.alter = self.alter, lambda _name, _answer: None
        yield
        self.alter = alter

    def of(self, name: str, answer: Any) -> str:
        """Return an answer as it goes on to the client."""
        self.seen[name] = answer
        text = self.alter(name, answer)
        return json.dumps(answer) if text is None else text


class Altering:
    """A running server of this kind: each client has a path, and so a set of alterations, of its own."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self._sandbox = sandbox
        self._session = session
        self._clients: dict[str, Altered] = {}
        self.port = 0

    def client(self) -> Altered:
        """Make room for another client."""
        name = str(len(self._clients))
        url = f"http://127.0.0.1:{self.port}/{name}/graphql"
        made = self._clients[name] = Altered(f"type=flash;server={url};token={self._sandbox.token};allowinsecure=true")
        return made

    async def post(self, request: web.Request) -> web.Response:
        """Pass a POST on."""
        client = self._clients[request.match_info["client"]]
        body = await request.json()
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        async with self._session.post(self._sandbox.server, json=body, headers=headers) as reply:
            answer = await reply.json(content_type=None)
            text = client.of(body["operationName"], answer) if reply.status == 200 else json.dumps(answer)
            return web.Response(status=reply.status, text=text, content_type="application/json")

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Pass a socket on."""
        client = self._clients[request.match_info["client"]]
        near = web.WebSocketResponse(protocols=("graphql-transport-ws",))
        await near.prepare(request)
        headers = {"Authorization": request.headers["Authorization"]} if "Authorization" in request.headers else {}
        far = await self._session.ws_connect(
            self._sandbox.websocket, protocols=("graphql-transport-ws",), headers=headers
        )
        names: dict[str, str] = {}

        async def there() -> None:
            async for message in near:
                said = json.loads(message.data)
                if said["type"] == "subscribe":
                    names[said["id"]] = said["payload"]["operationName"]
                await far.send_str(message.data)
            await far.close()

        async def back() -> None:
            async for message in far:
                said = json.loads(message.data)
                if said["type"] == "next":
                    payload = client.of(names[said["id"]], said["payload"])
                    await near.send_str(f'{{"id":{json.dumps(said["id"])},"type":"next","payload":{payload}}}')
                else:
                    await near.send_str(message.data)
            await near.close(code=far.close_code or 1000)

        await asyncio.gather(there(), back(), return_exceptions=True)
        return near


@asynccontextmanager
async def altering(sandbox: Sandbox) -> AsyncIterator[Altering]:
    """Run a server that alters what this sandbox answers."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        between = Altering(sandbox, session)
        app = web.Application()
        app.add_routes([web.post("/{client}/graphql", between.post), web.get("/{client}/graphql", between.connect)])
        async with serving(app) as between.port:
            yield between


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Return the place of every value in an answer, objects and lists included; of a list the first row."""
    if path:
        yield path
    rows: Any = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, each in rows:
        yield from leaves(each, (*path, key))


def replaced(answer: Any, path: Path, text: str) -> str | None:
    """Return an answer as JSON text with this text in one place; None where it has no such place."""
    whole = json.loads(json.dumps(answer))
    holder = whole
    try:
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]]
    except (KeyError, IndexError, TypeError):
        return None
    holder[path[-1]] = _MARK
    return json.dumps(whole).replace(json.dumps(_MARK), text)
