"""`flash-driver sandbox`: a Flash-compatible server to develop against, offline."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flash_driver.cli.amounts import parse_decimal
from flash_driver.cli.failures import BadUsage, CommandFailed, Exit
from flash_driver.cli.logs import log_to
from flash_driver.cli.options import Verbose
from flash_driver.cli.output import Output

if TYPE_CHECKING:
    from flash_driver.sandbox import Sandbox

__all__ = ["sandbox"]

_SERVER, _ACCOUNT, _MONEY = "The server", "The account", "Money and time"


def sandbox(
    *,
    port: Annotated[int, typer.Option(metavar="PORT", help="0 takes a free one.", min=0, max=65535)] = 4010,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="What to bind to.")] = "127.0.0.1",
    ws_mutations: Annotated[
        Literal["accept", "decline", "close"], typer.Option(help="What becomes of a mutation on the WebSocket.")
    ] = "decline",
    http_bearer: Annotated[
        Literal["accept", "reject"], typer.Option(help="Whether HTTP takes session tokens.")
    ] = "accept",
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready, nothing else.")] = False,
    verbose: Verbose = False,
    public_host: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The host that the connection string names.", rich_help_panel=_SERVER),
    ] = None,
    router: Annotated[
        bool, typer.Option("--router", help="Drop error codes over HTTP, as a router does.", rich_help_panel=_SERVER)
    ] = False,
    rate_limit: Annotated[
        str,
        typer.Option(metavar="N/SECONDS", help="New invoices per seconds, as 20/120, or off.", rich_help_panel=_SERVER),
    ] = "20/120",
    network: Annotated[
        Literal["mainnet", "signet", "regtest"],
        typer.Option(help="What network its invoices are for.", rich_help_panel=_SERVER),
    ] = "regtest",
    max_complexity: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="What a document may cost; a Lightning mutation costs 120.",
            min=1,
            rich_help_panel=_SERVER,
        ),
    ] = 200,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="FLASH_SANDBOX_TOKEN",
            metavar="TOKEN",
            help="The session token; by default a new one.",
            rich_help_panel=_ACCOUNT,
        ),
    ] = None,
    username: Annotated[str, typer.Option(metavar="NAME", help="Its name.", rich_help_panel=_ACCOUNT)] = "merchant",
    phone: Annotated[
        str, typer.Option(metavar="NUMBER", help="The phone that logs in to it.", rich_help_panel=_ACCOUNT)
    ] = "+12025550148",
    phone_code: Annotated[
        str, typer.Option(metavar="CODE", help='The code that is "sent" to it.', rich_help_panel=_ACCOUNT)
    ] = "123456",
    totp_code: Annotated[
        str | None, typer.Option(metavar="CODE", help="The TOTP code that a login needs too.", rich_help_panel=_ACCOUNT)
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="FLASH_SANDBOX_API_KEY",
            metavar="KEY",
            help="The API key; by default a new one.",
            rich_help_panel=_ACCOUNT,
        ),
    ] = None,
    api_key_scopes: Annotated[
        str,
        typer.Option(
            metavar="SCOPES",
            help="What the API key may do: read:user and others, separated by commas.",
            show_default=False,
            rich_help_panel=_ACCOUNT,
        ),
    ] = "read:user,write:wallet,read:transactions",
    api_key_limit: Annotated[
        int, typer.Option(metavar="N", help="How many requests a minute it may make.", min=1, rich_help_panel=_ACCOUNT)
    ] = 120,
    wallets: Annotated[
        str,
        typer.Option(
            metavar="CURRENCIES",
            help="Currencies of its wallets: USD, USDT, separated by commas.",
            rich_help_panel=_ACCOUNT,
        ),
    ] = "USD",
    cutover: Annotated[
        Literal["PRE", "IN_PROGRESS", "COMPLETE", "ROLLED_BACK"] | None,
        typer.Option(help="How far Flash's move from USD to USDT is.", rich_help_panel=_ACCOUNT),
    ] = None,
    migration: Annotated[
        Literal["NOT_BEGUN", "MOVING", "COMPLETE", "FAILED"],
        typer.Option(help="How far this account is, while it is IN_PROGRESS.", rich_help_panel=_ACCOUNT),
    ] = "NOT_BEGUN",
    external_wallet: Annotated[
        bool, typer.Option("--external-wallet", help="Add one that Flash does not hold.", rich_help_panel=_ACCOUNT)
    ] = False,
    btc_wallet: Annotated[
        bool, typer.Option("--btc-wallet", help="Add one in bitcoin.", rich_help_panel=_ACCOUNT)
    ] = False,
    balance_cents: Annotated[
        str, typer.Option(metavar="CENTS", help="What each wallet starts with, in cents.", rich_help_panel=_ACCOUNT)
    ] = "1000000",
    usd_per_btc: Annotated[
        str, typer.Option(metavar="USD", help="The price at the start.", rich_help_panel=_MONEY)
    ] = "97531.86",
    spread: Annotated[
        str,
        typer.Option(
            metavar="PART", help="How far below it invoices are valued: 0.004 is 0.4 %.", rich_help_panel=_MONEY
        ),
    ] = "0.004",
    drift_percent_per_minute: Annotated[
        str, typer.Option(metavar="PERCENT", help="How fast the price moves.", rich_help_panel=_MONEY)
    ] = "0",
    custodian_seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How long the custodian takes for each invoice and payment.",
            rich_help_panel=_MONEY,
        ),
    ] = 0,
    display_currency: Annotated[
        str,
        typer.Option(
            metavar="CODE",
            help="What its prices are shown in; a currency that nobody knows has no price.",
            rich_help_panel=_ACCOUNT,
        ),
    ] = "USD",
    price_tick_seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How often subscribers hear it.", rich_help_panel=_MONEY),
    ] = 30.0,
    invoice_expiry_seconds: Annotated[
        int,
        typer.Option(metavar="SECONDS", help="The longest life of an invoice.", rich_help_panel=_MONEY),
    ] = 60,
    invoice_unit: Annotated[
        Literal["sat", "msat"],
        typer.Option(metavar="UNIT", help="Invoices are whole sat or msat.", rich_help_panel=_MONEY),
    ] = "msat",
    invoice_rounding: Annotated[
        Literal["half-even", "down", "up"],
        typer.Option(metavar="WAY", help="half-even, down or up.", rich_help_panel=_MONEY),
    ] = "half-even",
    description_hash: Annotated[
        Literal["drop", "honour"],
        typer.Option(metavar="WAY", help="drop, as Flash does, or honour.", rich_help_panel=_MONEY),
    ] = "drop",
    send_fee_percent: Annotated[
        str, typer.Option(metavar="PERCENT", help="What a payment costs.", rich_help_panel=_MONEY)
    ] = "0.5",
) -> int:
    """Serve a Flash-compatible server until SIGINT or SIGTERM."""
    output = Output(as_json=as_json, verbose=verbose)
    _serve(
        output,
        port=port,
        host=host,
        ws_mutations=ws_mutations,
        http_bearer=http_bearer,
        public_host=public_host,
        router=router,
        rate_limit=rate_limit,
        network=network,
        max_complexity=max_complexity,
        username=username,
        phone=phone,
        phone_code=phone_code,
        totp_code=totp_code,
        token=token,
        api_key=api_key,
        api_key_scopes=tuple(name.strip() for name in api_key_scopes.split(",")),
        api_key_limit=api_key_limit,
        wallets=tuple(name.strip().upper() for name in wallets.split(",")),
        cutover=cutover,
        migration=migration,
        external_wallet=external_wallet,
        btc_wallet=btc_wallet,
        balance_cents=parse_decimal("--balance-cents", balance_cents),
        usd_per_btc=parse_decimal("--usd-per-btc", usd_per_btc),
        spread=parse_decimal("--spread", spread),
        drift_percent_per_minute=parse_decimal("--drift-percent-per-minute", drift_percent_per_minute),
        custodian_seconds=custodian_seconds,
        display_currency=display_currency,
        price_tick_seconds=price_tick_seconds,
        invoice_expiry_seconds=invoice_expiry_seconds,
        invoice_unit=invoice_unit,
        invoice_rounding=invoice_rounding,
        description_hash=description_hash,
        send_fee_percent=parse_decimal("--send-fee-percent", send_fee_percent),
    )
    return Exit.OK


def _serve(output: Output, **values: Any) -> None:
    from flash_driver.sandbox import SandboxOptions, run_sandbox  # noqa: PLC0415 - needs the extra `sandbox`

    try:
        options = SandboxOptions(**values)
    except ValueError as error:
        raise BadUsage(str(error)) from None

    def ready(running: "Sandbox") -> None:
        if output.as_json:
            output.document(running.ready_line())
        else:
            _welcome(output, running)

    with log_to(output):
        try:
            asyncio.run(run_sandbox(options, on_ready=ready))
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            words = f"the sandbox can't listen on {options.host}, port {options.port}: {reason}"
            raise CommandFailed("not-listening", words) from None


def _welcome(output: Output, running: "Sandbox") -> None:
    line = running.ready_line()
    output.text("The sandbox is ready; Ctrl-C ends it.", style="bold")
    if not running.options.loopback:
        output.note("note: other machines can reach it, its control endpoint included; there is no password on that")
    for name in ("connection_string", "api_key", "wallet_id", "control"):
        output.text(f"  {name.replace('_', ' '):<18} {line[name]}")
    output.text("Use it:", style="bold")
    output.text(f"  export FLASH_CONNECTION_STRING='{line['connection_string']}'")
    output.text("  flash-driver doctor")
    output.text("  flash-driver invoice create 1000 --wait")
    output.text("Pay one of its invoices from outside:", style="bold")
    pays = f'curl -s {line["control"]}/pay -d \'{{"payment_request": "lnbcrt..."}}\''
    output.text(f"  {pays}")
