from __future__ import annotations

from typing import TYPE_CHECKING

from connection_strings import ConnectionString
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import ME
from flash_driver.flash_api.outcomes import Answer
from flash_driver.sandbox import Sandbox, SandboxOptions
from flash_driver.settings.account import FlashSettings
from flash_driver.transports.base import perform
from flash_driver.transports.transport_set import TransportSet

if TYPE_CHECKING:
    from flash_driver.transports.base import Transport

TOKEN = "ory_st_c0ffee"


def settings(token: str = TOKEN, **keys: str) -> FlashSettings:
    """Return settings with these keys (`_` for `-`)."""
    values = {"token": token, **{key.replace("_", "-"): value for key, value in keys.items()}}
    return FlashSettings.from_connection_string(ConnectionString("flash", values))


def names(transports: list[Transport]) -> list[str]:
    """Return the names of transports, in order."""
    return [transport.name for transport in transports]


async def test_each_account_tries_them_in_its_own_order() -> None:
    """What is shared is the transports, not the order: that is in the connection string."""
    ways = TransportSet(settings())
    usual = ways.choose(settings())
    other = ways.choose(settings(transports="graphql,websocket"))
    assert names(usual) == ["websocket", "http", "graphql", "public"]
    assert other == [usual[2], usual[0]]


async def test_an_api_key_opens_no_socket() -> None:
    """The server reads no API key on a socket, so there is none to try (flash-server.md 1.3)."""
    key = settings("fk_c0ffee")
    assert names(TransportSet(key).choose(key)) == ["http", "graphql", "public"]


async def test_every_way_shows_the_credential() -> None:
    """Each of them is known to the server, with a session token and with an API key; closing them closes all.

    An API key has no say in public: that way learns the account by the socket.
    """
    async with Sandbox(SandboxOptions(ws_mutations="accept")) as sandbox:
        for token in (sandbox.token, sandbox.api_key):
            text = sandbox.connection_string.replace(sandbox.token, token)
            own = FlashSettings.from_connection_string(ConnectionString.parse(text))
            ways = TransportSet(own)
            for transport in ways.choose(own):
                if transport.anonymous and token == sandbox.api_key:
                    continue
                evidence = await perform(transport, ME(), Deadline.after(20))
                assert isinstance(evidence, Answer)
                assert evidence.data is not None
                assert evidence.data["me"]["defaultAccount"]["defaultWalletId"] == sandbox.wallet_id
            await ways.aclose()


async def test_the_largest_pool_that_anybody_asks_for() -> None:
    """Accounts that share sockets get as many as the one that permits most."""
    ways = TransportSet(settings())
    (socket,) = ways.choose(settings(transports="websocket", pool_size="3"))
    ways.choose(settings(transports="websocket", pool_size="2"))
    assert len(socket._managed) == 3  # type: ignore[attr-defined]  # a SocketTransport
