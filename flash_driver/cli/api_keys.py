"""`flash-driver api-key`: credentials for servers, made from a session."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connection_strings.grammar import ConnectionString
from connection_strings.secret import Secret
from flash_driver.cli.credentials import ask, line_with, private_file, show_line
from flash_driver.cli.failures import BadUsage, CommandFailed, Exit
from flash_driver.cli.options import AsJson, Connection, File, Verbose
from flash_driver.cli.output import Output
from flash_driver.cli.source import connection_text
from flash_driver.cli.values import shown_time
from flash_driver.common.masking import hide, shown
from flash_driver.flash_api.session_documents import API_KEY_CREATE, API_KEY_REVOKE, API_KEYS
from flash_driver.settings.values import TokenKind

if TYPE_CHECKING:
    from flash_driver.settings.account import FlashSettings

__all__ = ["app", "create", "list_", "revoke"]

_SCOPES = ("read:user", "write:wallet", "read:transactions")
"""What this driver needs: `read:transactions` for the amounts of amountless invoices (flash-server.md 16)."""
_SECONDS_A_DAY = 86_400
_ID = re.compile(r"[0-9a-fA-F-]{1,36}")
"""An id: a UUID or another hexadecimal number. No key is one: keys begin with `fk_`, sessions with `ory_st_`."""

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you will know it by, such as `shop`.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help=f"By default what a shop needs: {', '.join(_SCOPES)}.")
    ] = None,
    days: Annotated[int | None, typer.Option(metavar="DAYS", min=1, help="When it ends; by default never.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write the connection string there, readable by you alone.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """Make a key, and show the finished connection string: Flash never tells the key again."""
    output = Output(as_json=as_json, verbose=verbose)
    session = _session(connection, file, output)
    wanted: dict[str, object] = {"name": name, "scopes": [each.replace(":", "_") for each in scope or _SCOPES]}
    if days is not None:
        wanted["expiresIn"] = days * _SECONDS_A_DAY
    with private_file(out) as write:
        made = _ask(session, API_KEY_CREATE(input=wanted), "making the API key", "apiKeyCreate")
        text = made.get("apiKey")
        if not isinstance(text, str) or not text:
            raise CommandFailed("refused", "the server made no key")
        line = line_with(session.server, hide(Secret(text)))
        if write is not None:
            write(line)
    show_line(output, line, out, id=made.get("id"))
    output.text(f"id {_shown_id(made)}, for `flash-driver api-key revoke`", style="dim")
    return Exit.OK


@app.command("list")
def list_(
    *, as_json: AsJson = False, verbose: Verbose = False, connection: Connection = None, file: File = None
) -> int:
    """List the keys of the account; none of them can be shown again."""
    output = Output(as_json=as_json, verbose=verbose)
    session = _session(connection, file, output)
    data = asyncio.run(ask(session.server, API_KEYS(), "listing the API keys", session.token))
    found = data.get("apiKeys")
    keys = [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []
    if as_json:
        output.document({"api_keys": keys})
        return Exit.OK
    for key in keys:
        scopes = key.get("scopes")
        can = ", ".join(shown(each).replace("_", ":") for each in scopes) if isinstance(scopes, list) else "?"
        output.text(f"{shown(key.get('status')):<8}  {shown(key.get('name'))}  {can}{_end(key)}")
        output.text(f"  {_shown_id(key)}", style="dim")
    if not keys:
        output.text("no API keys; `flash-driver api-key create NAME` makes one")
    return Exit.OK


def _shown_id(key: Mapping[str, Any]) -> str:
    """Return a key's id as `revoke` wants it: `shown` alone would mask an id, which looks like a token."""
    text = str(key.get("id"))
    return text if _ID.fullmatch(text) else shown(text)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `list` shows.")],
    *,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """End a key at once and for good."""
    output = Output(as_json=as_json, verbose=verbose)
    session = _session(connection, file, output)
    ended = _ask(session, API_KEY_REVOKE(input={"id": key_id}), "ending the API key", "apiKeyRevoke")
    if as_json:
        output.document({"id": ended.get("id"), "status": ended.get("status")})
    else:
        output.text(f"ended: {shown(ended.get('name'))}")
    return Exit.OK


def _session(connection: str | None, file: str | None, output: Output) -> "FlashSettings":
    """Read the connection string of a session; an API key may not manage keys.

    Raises:
        BadUsage: It holds an API key.
        ConnectionStringError: It is none of Flash's.

    """
    from flash_driver.settings.account import FlashSettings  # noqa: PLC0415 - no command's help needs pydantic

    parsed = ConnectionString.parse(connection_text(connection, file, output))
    settings = FlashSettings.from_connection_string(parsed)
    if settings.token_kind is TokenKind.API_KEY:
        raise BadUsage("API keys are managed with a session (ory_st_...): get one with `flash-driver login`")
    return settings


def _ask(session: "FlashSettings", operation: Any, doing: str, field: str) -> Mapping[str, Any]:
    data = asyncio.run(ask(session.server, operation, doing, session.token))
    payload = data.get(field)
    key = payload.get("apiKey") if isinstance(payload, dict) else None
    if not isinstance(key, dict):
        raise CommandFailed("refused", f"{doing} failed: the server's answer has no key")
    return key


def _end(key: Mapping[str, Any]) -> str:
    seconds = key.get("expiresAt")
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return ""
    try:
        return f"  until {shown_time(datetime.fromtimestamp(seconds, UTC))}"
    except (OverflowError, ValueError, OSError):
        return ""
