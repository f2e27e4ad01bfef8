"""`flash-driver login`: from a phone to a connection string."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from connection_strings.secret import Secret
from flash_driver.cli.credentials import ask, checked_server, confirm_totp, line_with, private_file, show_line
from flash_driver.cli.failures import BadUsage, CommandFailed, Exit
from flash_driver.cli.options import AsJson, Verbose
from flash_driver.cli.output import Output
from flash_driver.common.masking import hide
from flash_driver.settings.endpoints import DEFAULT_SERVER

__all__ = ["login"]


def login(
    *,
    phone: Annotated[str | None, typer.Option(metavar="NUMBER", help="With its country code: +18761234567.")] = None,
    code: Annotated[str | None, typer.Option(metavar="CODE", help="What came by SMS or WhatsApp.")] = None,
    totp: Annotated[str | None, typer.Option(metavar="CODE", help="Of the authenticator app, if you use one.")] = None,
    server: Annotated[str, typer.Option(metavar="URL", help="Flash's GraphQL endpoint.")] = DEFAULT_SERVER,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write the connection string there, readable by you alone.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Get a session token from Flash, and show the finished connection string."""
    output = Output(as_json=as_json, verbose=verbose)
    url = checked_server(server)
    if not phone or not code:
        output.note(
            "Flash sends the code only to who has solved a captcha in a browser or in the Flash app: begin to log in "
            "there, do not type the code there, and type it here."
        )
    with private_file(out) as write:
        line = line_with(url, asyncio.run(_log_in(output, url, phone, code, totp)))
        if write is not None:
            write(line)
    show_line(output, line, out)
    output.note(
        "a session ends when it is not used for a long time; for a server make an API key of it: flash-driver api-key"
    )
    return Exit.OK


async def _log_in(output: Output, server: str, phone: str | None, code: str | None, totp: str | None) -> Secret:
    from flash_driver.flash_api.session_documents import LOGIN  # noqa: PLC0415 - needed to log in only

    number = phone or _prompt(output, "phone number, with its country code")
    entered = code or _prompt(output, "code")
    data = await ask(server, LOGIN(input={"phone": number, "code": entered}), "logging in")
    payload = data.get("userLogin")
    text = payload.get("authToken") if isinstance(payload, dict) else None
    if not isinstance(text, str) or not text:
        raise CommandFailed("refused", "the server took the code and gave no session; try again in a minute")
    token = hide(Secret(text))
    if isinstance(payload, dict) and payload.get("totpRequired"):
        await confirm_totp(server, token, totp or _prompt(output, "authenticator code"))
    return token


def _prompt(output: Output, what: str) -> str:
    """Ask the person at the terminal.

    Raises:
        BadUsage: Nobody is there.

    """
    if output.as_json or not output.console.is_terminal:
        raise BadUsage(f"there is nobody to ask for the {what}: give it as an option (see --help)")
    return str(typer.prompt(what.capitalize(), err=True)).strip()
