"""What both HTTP routes promise alike, as tests that `test_http.py` and `test_graphql.py` run for their transport."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import INVOICE_CREATE_USD, PAY, PROBE
from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Evidence,
    Garbage,
    HttpStatus,
    NotConnected,
    NotWritten,
    TimedOut,
)
from flash_driver.transports.base import perform
from flash_driver.transports.network import make_tls_context
from tests.support.sockets import CERTIFICATE, accepting, free_port, untrusted_tls, within
from tests.support.web import COMPRESSED, REPLIES, Reply, posted, replying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flash_driver.flash_api.documents import Operation
    from flash_driver.transports.base import Late
    from flash_driver.transports.gql_client import GraphQLTransport
    from flash_driver.transports.http import HttpTransport

__all__ = ["Routes"]

HEADERS = {"Authorization": "Bearer ory_st_test", "x-flash-client-capabilities": "c", "User-Agent": "u"}
CREATE = INVOICE_CREATE_USD(input={})
DATA = Reply(Answer({"a": 1}), '{"data":{"a":1}}')


def soon() -> Deadline:
    """Return a deadline that a working driver never sees."""
    return Deadline.after(20)


async def _leave(
    transport: HttpTransport | GraphQLTransport, operation: Operation, asked: asyncio.Event, late: Late | None = None
) -> None:
    """Give an operation up once the server has it, as a caller does that is cancelled."""
    asking = asyncio.create_task(perform(transport, operation, soon(), late))
    async with within():
        await asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


class Routes(ABC):
    """The promises; a subclass says which transport makes them."""

    @abstractmethod
    def make(self, url: str, tls: ssl.SSLContext | None = None) -> HttpTransport | GraphQLTransport:
        """Make a transport with `HEADERS`."""

    @asynccontextmanager
    async def to(self, url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpTransport | GraphQLTransport]:
        """Make a transport, and close it after the block."""
        transport = self.make(url, tls)
        try:
            yield transport
        finally:
            await transport.aclose()

    async def ask(self, url: str, deadline: Deadline | None = None, tls: ssl.SSLContext | None = None) -> Evidence:
        """Perform one operation."""
        async with self.to(url, tls) as transport, within():
            return await perform(transport, PROBE(), deadline or soon())

    @pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
    async def test_reply(self, reply: Reply) -> None:
        """Each reply of a real server means exactly this."""
        async with posted(replying(reply)) as site:
            assert await self.ask(site.url) == reply.means
            assert len(site.requests) == 1

    async def test_request(self) -> None:
        """One POST with the credential, the document, its name and exact variables; no compression is asked for."""
        async with posted(replying(DATA)) as site, self.to(site.url) as transport:
            operation = INVOICE_CREATE_USD(input={"amount": Decimal("1.500000")})
            assert await perform(transport, operation, soon()) == Answer({"a": 1})
        ((method, headers, body),) = site.requests
        assert method == "POST"
        assert body == operation.payload
        assert {name: headers.getall(name) for name in HEADERS} == {name: [value] for name, value in HEADERS.items()}  # type: ignore[attr-defined]  # aiohttp's headers
        assert headers["Content-Type"] == "application/json"
        assert headers["Accept"] == "application/json"
        assert headers["Accept-Encoding"] == "identity"

    async def test_one_connection_serves_many(self) -> None:
        """A connection is kept for the next request, also after an error."""
        ports = []

        async def note(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            ports.append(request.transport.get_extra_info("peername")[1])
            return web.Response(status=200 if len(ports) % 2 else 401, body=b'{"data":{"a":1}}')

        async with posted(note) as site, self.to(site.url) as transport:
            for _ in range(4):
                await perform(transport, PROBE(), soon())
        assert len(set(ports)) == 1

    async def test_many_at_once(self) -> None:
        """Requests side by side get each their own reply."""

        async def echo(request: web.Request) -> web.StreamResponse:
            number = (await request.json())["variables"]["number"]
            await asyncio.sleep((number % 7) / 500)
            return web.json_response({"data": {"number": number}})

        async with posted(echo) as site, self.to(site.url) as transport:
            asked = [perform(transport, PROBE(number=number), soon()) for number in range(30)]
            assert await asyncio.gather(*asked) == [Answer({"number": number}) for number in range(30)]

    # --- before anything is written ---

    async def test_nobody_listens(self) -> None:
        """A refused connection is certainly not executed."""
        assert await self.ask(f"http://127.0.0.1:{free_port()}/") == NotConnected("the connection was refused")
        assert await self.ask(f"http://localhost:{free_port()}/") == NotConnected("the connection was refused")

    async def test_host_not_found(self) -> None:
        """A name that does not exist is certainly not executed."""
        assert await self.ask("http://flash-driver.invalid/") == NotConnected("the host name was not found")

    async def test_host_that_can_not_exist(self) -> None:
        """A name that can't even be looked up is no crash."""
        assert isinstance(await self.ask(f"http://{'a' * 64}.invalid/"), NotConnected)

    async def test_certificate_that_nobody_vouches_for(self) -> None:
        """TLS is always verified, and what is not trusted gets no request."""
        async with posted(replying(DATA), untrusted_tls()) as site:
            for tls in (None, make_tls_context()):
                evidence = await self.ask(site.url, tls=tls)
                assert evidence == NotConnected(
                    "the server's certificate was not accepted (self-signed certificate)", Cause.UNREACHABLE
                )
            assert site.requests == []
            trusting = ssl.create_default_context(cafile=CERTIFICATE)
            assert await self.ask(site.url, tls=trusting) == Answer({"a": 1})

    async def test_tls_with_a_server_that_has_none(self) -> None:
        """A server without TLS is not spoken to in the clear."""
        async with accepting(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
            evidence = await self.ask(f"https://127.0.0.1:{port}/")
        assert isinstance(evidence, NotConnected)
        assert evidence.why.startswith("TLS failed (")

    async def test_connection_that_does_not_come_about_in_time(self) -> None:
        """Time that runs out in the TLS handshake is time before anything was written."""
        async with accepting() as port:
            evidence = await self.ask(f"https://127.0.0.1:{port}/", Deadline.after(0.3))
        assert evidence == NotConnected("not connected in time", Cause.SLOW)
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()  # anyio leaves the socket to the collector where the handshake is cancelled

    async def test_no_time_left(self) -> None:
        """A request whose time is over is not sent on the chance that it may be carried out."""
        async with posted(replying(DATA)) as site, self.to(site.url) as transport:
            await perform(transport, PROBE(), soon())
            evidence = await perform(transport, PROBE(), Deadline.after(-1))
            assert evidence == NotWritten("no time was left to write the request")
            assert len(site.requests) == 1

    # --- after something was written ---

    async def test_no_answer_in_time(self) -> None:
        """A request without an answer may have been carried out."""

        async def hesitate(request: web.Request) -> web.StreamResponse:
            if len(site.requests) > 1:
                await asyncio.sleep(60)
            return await replying(DATA)(request)

        async with posted(hesitate) as site, self.to(site.url) as transport:
            await perform(transport, PROBE(), soon())
            assert await perform(transport, PROBE(), Deadline.after(2)) == TimedOut()
            assert len(site.requests) == 2

    @pytest.mark.parametrize(
        ("reply", "means"),
        [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", TimedOut()),
            (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 50\r\n\r\n{", HttpStatus(401)),
        ],
    )
    async def test_reply_that_stops_half_way(self, reply: bytes, means: Evidence) -> None:
        """When the rest of the body does not come, the status alone decides what it can decide."""
        async with accepting(reply) as port:
            assert await self.ask(f"http://127.0.0.1:{port}/", Deadline.after(2)) == means

    @pytest.mark.parametrize(
        ("reply", "means"),
        [
            (b"", Garbage),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Garbage),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", Garbage),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", Garbage),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, Garbage),
            (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 50\r\n\r\n{", HttpStatus),
            (b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 50\r\n\r\n{", HttpStatus),
        ],
    )
    async def test_connection_lost_after_the_request(self, reply: bytes, means: type[Evidence]) -> None:
        """Whatever breaks after the request is unknown, unless the status came first."""
        async with accepting(reply or b"\n", hold=False) as port:
            assert isinstance(await self.ask(f"http://127.0.0.1:{port}/"), means)

    async def test_redirects_carry_the_token_nowhere(self) -> None:
        """A redirect to another server is reported, and that server hears nothing."""
        async with posted(replying(DATA)) as elsewhere:
            for status in (301, 302, 303, 307, 308):
                redirect = Reply(HttpStatus(status), b"", status, {"Location": elsewhere.url})
                async with posted(replying(redirect)) as site:
                    assert await self.ask(site.url) == HttpStatus(status)
            assert elsewhere.requests == []

    async def test_compressed_reply_is_not_unfolded(self) -> None:
        """A compressed reply, which nobody asked for, is refused before it grows."""
        headers = {"Content-Encoding": "gzip"}
        async with posted(replying(Reply(TimedOut(), COMPRESSED, headers=headers))) as site:
            assert isinstance(await self.ask(site.url), Garbage)
        async with posted(replying(Reply(TimedOut(), COMPRESSED, 401, headers))) as site:
            assert await self.ask(site.url) == HttpStatus(401)

    async def test_endless_reply_is_cut_off(self) -> None:
        """A reply without end is given up at the limit, not at the deadline."""

        async def flood(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 2**18)

        async with posted(flood) as site:
            assert await self.ask(site.url) == Garbage("a reply larger than the limit")

    async def test_cookies_are_not_kept(self) -> None:
        """What a server wants remembered is not: a session cookie would take priority over the token."""
        cookie = Reply(Answer({}), '{"data":{}}', headers={"Set-Cookie": "ory_kratos_session=c0ffee; Path=/"})
        async with posted(replying(cookie)) as site, self.to(site.url) as transport:
            for _ in range(2):
                await perform(transport, PROBE(), soon())
        assert all("Cookie" not in headers for _, headers, _ in site.requests)

    async def test_proxies_of_the_environment_are_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The token goes to the server of the connection string, whatever the environment says."""
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        async with posted(replying(DATA)) as site:
            assert await self.ask(site.url) == Answer({"a": 1})

    # --- giving up, closing ---

    @pytest.mark.parametrize("leaving", ["time", "cancelled"])
    async def test_answer_that_is_wanted_late(self, leaving: str) -> None:
        """An answer that comes when its caller is gone reaches the one who wants it late, once."""
        asked, answering, late = asyncio.Event(), asyncio.Event(), asyncio.Queue[Evidence]()

        async def hesitate(request: web.Request) -> web.StreamResponse:
            asked.set()
            await answering.wait()
            return await replying(DATA)(request)

        async with posted(hesitate) as site, self.to(site.url) as transport:
            if leaving == "time":
                for seconds in (0.5, 2, 16):  # a busy machine may not even have written it in the first of them
                    if await perform(transport, CREATE, Deadline.after(seconds), late.put_nowait) == TimedOut():
                        break
            else:
                await _leave(transport, CREATE, asked, late.put_nowait)
            assert late.empty()
            answering.set()
            async with within():
                assert await late.get() == Answer({"a": 1})
            assert await perform(transport, CREATE, soon(), late.put_nowait) == Answer({"a": 1})
            assert late.empty()

    async def test_a_payment_is_not_waited_for_after_its_time(self) -> None:
        """It is asked about again instead, under its key: a connection is not kept for it."""
        asked, late = asyncio.Event(), asyncio.Queue[Evidence]()

        async def never(_request: web.Request) -> web.StreamResponse:
            asked.set()
            await asyncio.sleep(600)
            return web.Response()

        async with posted(never) as site, self.to(site.url) as transport, within():
            await _leave(transport, PAY(), asked, late.put_nowait)
            assert not any("http request" in task.get_name() for task in asyncio.all_tasks())

    async def test_what_is_wanted_late_and_was_not_written_never_is(self) -> None:
        """A caller that leaves while a connection is made is told so, and the request is not sent behind its back."""
        late = asyncio.Queue[Evidence]()
        async with accepting() as port, self.to(f"https://127.0.0.1:{port}/") as transport:
            evidence = await perform(transport, CREATE, Deadline.after(0.3), late.put_nowait)
            assert evidence == NotConnected("not connected in time", Cause.SLOW)
            assert late.empty()
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()  # anyio leaves the socket to the collector where the handshake is cancelled

    async def test_closing_waits_for_no_late_answer(self) -> None:
        """A transport that is closed takes late answers no more, and leaves no task behind."""
        asked, late = asyncio.Event(), asyncio.Queue[Evidence]()

        async def never(_request: web.Request) -> web.StreamResponse:
            asked.set()
            await asyncio.sleep(600)
            return web.Response()

        async with posted(never) as site:
            async with self.to(site.url) as transport, within():
                await _leave(transport, CREATE, asked, late.put_nowait)
            assert [task for task in asyncio.all_tasks() if "http request" in task.get_name()] == []
            assert all(isinstance(late.get_nowait(), Garbage) for _ in range(late.qsize()))

    async def test_cancelled(self) -> None:
        """A caller that gives up is cancelled, and the transport serves on."""
        asked = asyncio.Event()

        async def hesitate_once(_request: web.Request) -> web.StreamResponse:
            if not asked.is_set():
                asked.set()
                await asyncio.sleep(20)
            return web.json_response({"data": {"a": 1}})

        async with posted(hesitate_once) as site, self.to(site.url) as transport:
            await _leave(transport, PROBE(), asked)
            assert await perform(transport, PROBE(), soon()) == Answer({"a": 1})

    async def test_closing_and_using_again(self) -> None:
        """Closing twice does no harm, and the next operation opens new connections."""
        async with posted(replying(DATA)) as site, self.to(site.url) as transport:
            await transport.aclose()
            for _ in range(2):
                assert await perform(transport, PROBE(), soon()) == Answer({"a": 1})
                await transport.aclose()
                await transport.aclose()
