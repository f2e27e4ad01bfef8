"""`flash-driver pay` and `flash-driver payment get`: money that leaves, once."""

import sys
from decimal import Decimal
from typing import Annotated

import typer

from connection_strings.errors import LightningError
from connection_strings.lightning import LightningClient, PayInvoiceParams, PayResponse, PayResult
from connection_strings.money import LightMoney
from flash_driver.bolt11.payment_request import PaymentRequest, decode
from flash_driver.cli.amounts import parse_amount, parse_decimal, parse_duration, shown_amount
from flash_driver.cli.failures import BadUsage, CommandFailed, Exit
from flash_driver.cli.journals import where_payments_are_known
from flash_driver.cli.options import AsJson, Connection, File, Verbose
from flash_driver.cli.output import Output
from flash_driver.cli.session import run_with_client
from flash_driver.cli.values import payment_json, response_json, shown_time

__all__ = ["app", "get", "pay"]

_DO_NOT_PAY_AGAIN = (
    "it may have been paid: do not pay again; `flash-driver payment get` and the Flash app tell how it ended"
)

app = typer.Typer(no_args_is_help=True, help="Look payments up.")


def pay(
    bolt11: Annotated[str, typer.Argument(metavar="BOLT11", help="The invoice to pay.")],
    *,
    amount: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="What to pay where the invoice leaves it to the payer.")
    ] = None,
    max_fee_percent: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Most fee to accept, in percent of the amount.")
    ] = None,
    max_fee_sat: Annotated[
        str | None, typer.Option(metavar="SAT", help="Most fee to accept, in satoshi. Both given: the smaller counts.")
    ] = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait for a clear answer.")] = "30s",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Pay without asking.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """Pay an invoice. Exit status 3 means that it may have been paid: do not pay again."""
    output = Output(as_json=as_json, verbose=verbose)
    request = decode(bolt11)
    params = PayInvoiceParams(
        amount=None if amount is None else parse_amount(amount),
        max_fee_percent=None if max_fee_percent is None else parse_decimal("--max-fee-percent", max_fee_percent),
        max_fee_flat=None if max_fee_sat is None else _sat(parse_decimal("--max-fee-sat", max_fee_sat)),
        send_timeout=parse_duration(timeout),
    )
    if not yes:
        _confirm(output, request, params)

    async def work(client: LightningClient) -> Exit:
        try:
            response = await client.pay(bolt11, params)
        except LightningError:
            raise  # by the contract nothing was sent
        except BaseException as error:
            # Whatever tore the call, Ctrl-C included, came while the payment may have been under way.
            output.trace(error)
            raise _unknown(request, f"interrupted by {type(error).__name__}") from error
        return _show(output, request, response)

    return run_with_client(output, connection, file, work)


@app.command()
def get(
    payment_hash: Annotated[str, typer.Argument(metavar="HASH", help="The payment hash of the invoice paid.")],
    *,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """Show what is known of a payment made through this driver."""
    output = Output(as_json=as_json, verbose=verbose)

    async def work(client: LightningClient) -> Exit:
        payment = await client.get_payment(payment_hash)
        if payment is None:
            raise CommandFailed("unknown-payment", f"this journal has no such payment; {where_payments_are_known()}")
        if as_json:
            output.document(payment_json(payment))
        else:
            output.text(f"{payment.status.value}  {shown_amount(payment.amount)}")
            output.text(f"begun      {shown_time(payment.created_at)}")
            output.text(f"hash       {payment.payment_hash}")
        return Exit.OK

    return run_with_client(output, connection, file, work)


def _sat(number: Decimal) -> LightMoney:
    try:
        return LightMoney.from_sat(number)
    except ValueError as error:
        raise BadUsage(f"--max-fee-sat: {error}") from None


def _confirm(output: Output, request: PaymentRequest, params: PayInvoiceParams) -> None:
    if not sys.stdin.isatty():
        raise BadUsage("there is nobody to ask here: add --yes to pay without asking")
    asked = None if request.amount_msat is None else LightMoney.from_msat(request.amount_msat)
    output.note(f"amount       {shown_amount(asked or params.amount)}")
    output.note(f"description  {request.description or '(none)'}")
    output.note(f"expires      {shown_time(request.expires_at)}")
    if not typer.confirm("Pay it?", err=True):
        raise CommandFailed("declined", "nothing was paid")


def _show(output: Output, request: PaymentRequest, response: PayResponse) -> Exit:
    match response.result:
        case PayResult.OK:
            pass
        case PayResult.UNKNOWN:
            raise _unknown(request, response.error_detail or "no clear answer", response)
        case PayResult.ERROR | PayResult.COULD_NOT_FIND_ROUTE:
            words = f"nothing was paid: {response.error_detail or response.result.value}"
            raise CommandFailed("payment-failed", words, response_json(response))
    if output.as_json:
        output.document(response_json(response))
        return Exit.OK
    details = response.details
    output.text("paid", style="green")
    if details is not None and details.total_amount is not None:
        output.text(f"total      {shown_amount(details.total_amount)}")
    if details is not None and details.fee_amount is not None:
        output.text(f"fee        {shown_amount(details.fee_amount)}")
    output.text(f"hash       {request.payment_hash}")
    return Exit.OK


def _unknown(request: PaymentRequest, why: str, response: PayResponse | None = None) -> CommandFailed:
    facts = {} if response is None else response_json(response)
    facts |= {"result": PayResult.UNKNOWN.value, "payment_hash": request.payment_hash}
    return CommandFailed("payment-unknown", f"{why}; {_DO_NOT_PAY_AGAIN}", facts, status=Exit.PAYMENT_UNKNOWN)
