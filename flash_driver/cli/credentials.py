"""Asking Flash for credentials, and putting them where only their owner can read them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from connection_strings.grammar import ConnectionString
from flash_driver.cli.failures import BadUsage, CommandFailed
from flash_driver.common.masking import shown
from flash_driver.flash_api.classify import classify
from flash_driver.settings.endpoints import check_url, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from connection_strings.secret import Secret
    from flash_driver.cli.output import Output
    from flash_driver.flash_api.documents import Operation

__all__ = ["ask", "checked_server", "confirm_totp", "line_with", "private_file", "show_line"]

_SECONDS: Final = 15.0
_PRIVATE: Final = 0o600


def checked_server(text: str) -> str:
    """Return the URL of a GraphQL endpoint; one without TLS only on this machine.

    Raises:
        BadUsage: It is no such URL.

    """
    try:
        return check_url(text, {"https", "http"}, allow_insecure=is_loopback(text))
    except ValueError:
        raise BadUsage("--server must be an https:// URL, such as https://api.flashapp.me/graphql") from None


async def ask(server: str, operation: Operation, doing: str, token: Secret | None = None) -> Mapping[str, Any]:
    """Put one operation to the server over HTTP, and return its data.

    Raises:
        LightningError: It refused, or can't be reached.

    """
    from flash_driver.common.deadline import Deadline  # noqa: PLC0415 - with what follows
    from flash_driver.transports.delivery import Delivery  # noqa: PLC0415 - with what follows
    from flash_driver.transports.http import HttpTransport  # noqa: PLC0415 - loads aiohttp

    transport = HttpTransport(server, {} if token is None else {"Authorization": f"Bearer {token.reveal()}"})
    deadline = Deadline.after(_SECONDS)
    try:
        link = await transport.ready(deadline)
        evidence = await link.execute(operation, deadline)
    finally:
        await transport.aclose()
    return Delivery(classify(operation.document, evidence), transport.name, harmless=True).data(doing)


async def confirm_totp(server: str, token: Secret, code: str) -> None:
    """Confirm a session with a code of an authenticator app; before that it does not work.

    Raises:
        CommandFailed: The server takes another code, or can't be reached.

    """
    import aiohttp  # noqa: PLC0415 - as above

    parts = urlsplit(server)
    url = f"{parts.scheme}://{parts.netloc}/auth/totp/validate"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.post(url, json={"totpCode": code, "authToken": token.reveal()}, allow_redirects=False) as response,
        ):
            if response.status == 200:
                return
            words = shown((await response.content.read(1000)).decode(errors="replace"))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CommandFailed("unavailable", f"the code can't be confirmed now ({type(error).__name__})") from None
    raise CommandFailed(
        "refused", f"the server does not take this authenticator code (HTTP {response.status}: {words})"
    )


def line_with(server: str, token: Secret) -> str:
    """Return the connection string of a server and a credential."""
    values = {"server": server, "token": token.reveal()}
    if server.startswith("http://"):
        values["allowinsecure"] = "true"
    return ConnectionString("flash", values).render()


def show_line(output: Output, line: str, file: Path | None, **facts: object) -> None:
    """Show a finished connection string, or the file that holds it; `facts` stand beside it in JSON."""
    if output.as_json:
        output.document({**facts, **({"connection_string": line} if file is None else {"file": str(file)})})
    output.text(line if file is None else f"the connection string is in {file}; use it with --file {file}")


@contextmanager
def private_file(path: Path | None) -> Iterator[Callable[[str], None] | None]:
    """Make ready to write a line into a file that only its owner can read; yields what writes it, whole or not at all.

    Entered before a credential is asked for, so that none is made that can't be kept.

    Raises:
        CommandFailed: It can't be written.

    """
    if path is None:
        yield None
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")

    def write(line: str) -> None:
        with _telling(path), open(descriptor, "w", closefd=False) as opened:
            opened.write(f"{line}\n")
            opened.flush()
            os.fsync(descriptor)
        with _telling(path):
            fresh.replace(path)

    with _telling(path):
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    try:
        yield write
    finally:
        os.close(descriptor)
        fresh.unlink(missing_ok=True)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CommandFailed("output", f"--out: {path} can't be written ({reason})") from None
