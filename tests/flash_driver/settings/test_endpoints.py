from __future__ import annotations

import pytest

from flash_driver.settings.endpoints import DEFAULT_SERVER, check_url, derive_websocket_url, is_loopback

HTTP = frozenset({"https", "http"})


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (DEFAULT_SERVER, DEFAULT_SERVER),
        ("https://api.flashapp.me", "https://api.flashapp.me/graphql"),
        ("https://api.flashapp.me/", "https://api.flashapp.me/graphql"),
        ("HTTPS://API.FlashApp.ME/graphql", "https://api.flashapp.me/graphql"),
        ("https://api.flashapp.me:8443/v2/graphql/", "https://api.flashapp.me:8443/v2/graphql/"),
        ("https://api.flashapp.me:0443/x", "https://api.flashapp.me:443/x"),
        ("https://host_with.underscore/x", "https://host_with.underscore/x"),
        ("https://[::1]:4010/graphql", "https://[::1]:4010/graphql"),
        ("https://192.0.2.1/graphql", "https://192.0.2.1/graphql"),
        ("https://b\u00fccher.example/graphql", "https://b\u00fccher.example/graphql"),
    ],
)
def test_url_in_canonical_form(text: str, canonical: str) -> None:
    """Scheme and host in lower case, a path always, nothing else; and once is enough."""
    assert check_url(text, HTTP, allow_insecure=False) == canonical
    assert check_url(canonical, HTTP, allow_insecure=False) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "starts with http:// or https://"),
        ("api.flashapp.me/graphql", "starts with http:// or https://"),
        ("//api.flashapp.me/graphql", "starts with http:// or https://"),
        ("wss://api.flashapp.me/graphql", "starts with http:// or https://"),
        ("https://", "names a host"),
        ("https:///graphql", "names a host"),
        ("https://[::1/graphql", "is not a URL"),
        ("https://api.flashapp.me:port/", "is not a URL"),
        ("https://api.flashapp.me:99999/", "is not a URL"),
        ("https://api.flashapp.me:0/", "can be connected to"),
        ("https://api.flashapp.me/a b", "can be connected to"),
        ("https://api.flash\tapp.me/", "can be connected to"),
        ("https://api.flashapp.me/\x00", "can be connected to"),
        ("https://a..b/", "can be connected to"),
        ("https://.onion/", "no proxy"),
        ("http://xyz.onion/graphql", "no proxy"),
        ("https://xyz.ONION./graphql", "no proxy"),
        (f"https://{'a' * 64}.example/", "can be connected to"),
        ("https://%61pi.flashapp.me/", "can be connected to"),
        ("https://a,b/", "can be connected to"),
        ("https://user@api.flashapp.me/", "user name or password"),
        ("https://user:word@api.flashapp.me/", "user name or password"),
        ("https://api.flashapp.me\\@evil.example/", "user name or password"),
        ("https://api.flashapp.me/?a=b", "query or a fragment"),
        ("https://api.flashapp.me/#a", "query or a fragment"),
        ("http://api.flashapp.me/", "not encrypted"),
        ("http://127.0.0.1/", "not encrypted"),
        ("http://evilonion/", "not encrypted"),
        ("http://xyz.onion.example/", "not encrypted"),
    ],
)
def test_url_refused(text: str, reason: str) -> None:
    """Each fault is told in words that do not repeat the URL."""
    with pytest.raises(ValueError, match=reason) as caught:
        check_url(text, HTTP, allow_insecure=False)
    assert "evil" not in str(caught.value)
    assert "word@" not in str(caught.value)


def test_insecure_when_wanted() -> None:
    """`allowinsecure` admits a server without TLS, and only that."""
    assert check_url("http://127.0.0.1:4010/graphql", HTTP, allow_insecure=True) == "http://127.0.0.1:4010/graphql"
    assert check_url("ws://localhost/x", {"ws", "wss"}, allow_insecure=True) == "ws://localhost/x"
    with pytest.raises(ValueError, match="starts with ws:// or wss://"):
        check_url("http://localhost/x", {"ws", "wss"}, allow_insecure=True)


@pytest.mark.parametrize(
    ("server", "websocket"),
    [
        (DEFAULT_SERVER, "wss://ws.flashapp.me/graphql"),
        ("https://api.test.flashapp.me/graphql", "wss://ws.test.flashapp.me/graphql"),
        ("https://api.flashapp.me:8443/v2", "wss://ws.flashapp.me:8443/v2"),
        ("http://localhost:4002/graphql", "ws://localhost:4002/graphql"),
        ("http://127.0.0.1:4002/graphql", "ws://127.0.0.1:4002/graphql"),
        ("https://[::1]:4002/graphql", "wss://[::1]:4002/graphql"),
        ("https://flash.example/graphql", "wss://flash.example/graphql"),
        ("https://rapi.example/graphql", "wss://rapi.example/graphql"),
    ],
)
def test_websocket_url(server: str, websocket: str) -> None:
    """`api.X` becomes `ws.X`, any other host stays; scheme, port and path follow the server's (flash-server.md 1.1)."""
    assert derive_websocket_url(server) == websocket


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:1/x", True),
        ("http://127.9.9.9/x", True),
        ("http://[::1]:1/x", True),
        ("http://192.0.2.1/x", False),
        ("http://localhost.example/x", False),
        ("/x", False),
    ],
)
def test_loopback(url: str, *, loopback: bool) -> None:
    """This machine is known by its look, without asking anybody."""
    assert is_loopback(url) is loopback
