"""`flash-driver pay` and `flash-driver payment ...`: money that leaves, once."""

import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import typer

from connection_strings.errors import LightningError
from connection_strings.lightning import (
    LightningClient,
    LightningPayment,
    ListPaymentsParams,
    PayInvoiceParams,
    PayResponse,
    PayResult,
)
from connection_strings.money import LightMoney
from flash_driver.bolt11.payment_request import PaymentRequest, decode
from flash_driver.cli.amounts import parse_amount, parse_decimal, parse_duration, shown_amount
from flash_driver.cli.failures import BadUsage, CommandFailed, Exit
from flash_driver.cli.journals import where_payments_are_known
from flash_driver.cli.options import AsJson, Connection, File, Verbose
from flash_driver.cli.output import Output
from flash_driver.cli.session import flash_client, run_with_client
from flash_driver.cli.values import payment_json, response_json, shown_time

__all__ = ["app", "get", "list_", "pay", "settle"]

_DO_NOT_PAY_AGAIN = (
    "it may have been paid: do not pay again; `flash-driver payment get` and the Flash app tell how it ended"
)

app = typer.Typer(no_args_is_help=True)


def pay(
    destination: Annotated[
        str,
        typer.Argument(metavar="DESTINATION", help="A BOLT11, Lightning address or LNURL-pay link."),
    ],
    *,
    amount: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="What to pay where the invoice leaves it to the payer.")
    ] = None,
    comment: Annotated[
        str, typer.Option(metavar="WORDS", help="What the payee of a Lightning address or LNURL reads beside it.")
    ] = "",
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
    """Pay an invoice, or a payee who makes one. Exit status 3: it may have been paid, do not pay again."""
    from flash_driver.cli.destinations import bolt11_of  # noqa: PLC0415 - loads aiohttp

    output = Output(as_json=as_json, verbose=verbose)
    asked = None if amount is None else parse_amount("--amount", amount)
    params = PayInvoiceParams(
        amount=asked,
        max_fee_percent=None if max_fee_percent is None else parse_decimal("--max-fee-percent", max_fee_percent),
        max_fee_flat=None if max_fee_sat is None else _sat(parse_decimal("--max-fee-sat", max_fee_sat)),
        send_timeout=parse_duration("--timeout", timeout),
    )
    bolt11 = bolt11_of(destination, asked, comment)
    request = decode(bolt11)
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
            for name, value in _facts(payment):
                output.text(f"{name:<11}{value}")
        return Exit.OK

    return run_with_client(output, connection, file, work)


@app.command("list")
def list_(
    *,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only those of which nobody knows how they ended.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """List the payments of the journal, oldest first."""
    output = Output(as_json=as_json, verbose=verbose)

    async def work(client: LightningClient) -> Exit:
        payments = await _all_payments(client, unknown_only=unknown)
        if as_json:
            output.document({"payments": [payment_json(payment) for payment in payments]})
        elif not payments:
            output.text(f"no {'unknown ' if unknown else ''}payments; {where_payments_are_known()}")
        for payment in [] if as_json else payments:
            _show_line(output, payment)
        return Exit.OK

    return run_with_client(output, connection, file, work)


@app.command()
def settle(
    payment_hash: Annotated[str, typer.Argument(metavar="HASH", help="The payment hash of the invoice paid.")],
    *,
    paid: Annotated[bool, typer.Option("--paid/--failed", help="Whether the money left, as the Flash app shows it.")],
    reason: Annotated[str, typer.Option(metavar="WORDS", help="How you know; kept with the payment.")],
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """Write down how a payment ended that stays unknown. What is called failed may be paid again."""
    output = Output(as_json=as_json, verbose=verbose)

    async def work(client: LightningClient) -> Exit:
        if (flash := flash_client(client)) is None:
            raise BadUsage("only payments out of a Flash account can be settled by hand")
        payment = await flash.settle_payment(payment_hash, paid=paid, reason=reason)
        if as_json:
            output.document(payment_json(payment))
        else:
            output.text(f"{payment.status.value}  {shown_amount(payment.amount)}  (settled by hand)")
        return Exit.OK

    return run_with_client(output, connection, file, work)


async def _all_payments(client: LightningClient, *, unknown_only: bool) -> list[LightningPayment]:
    """Return all payments, page by page."""
    if unknown_only:
        return await client.list_payments(ListPaymentsParams(unknown_only=True))
    payments: list[LightningPayment] = []
    page = await client.list_payments(ListPaymentsParams(include_pending=True))
    while page:
        payments += page
        page = await client.list_payments(ListPaymentsParams(include_pending=True, after=page[-1].payment_hash))
    return payments


def _show_line(output: Output, payment: LightningPayment) -> None:
    """Show a payment, and below it its hash and why it is not paid, which would not fit beside it."""
    since = shown_time(payment.sent_at or payment.created_at)
    output.text(f"{payment.status.value:<8}  {shown_amount(payment.amount):>14}  since {since}")
    output.text(f"  {payment.payment_hash}", style="dim")
    if payment.failure is not None:
        output.paragraph(f"  {payment.failure}", style="dim")


def _facts(payment: LightningPayment) -> Iterator[tuple[str, str]]:
    """Yield what is known of a payment besides its status, and what would tell the rest."""
    yield "begun", shown_time(payment.created_at)
    yield "sent", "no" if payment.sent_at is None else shown_time(payment.sent_at)
    yield "hash", payment.payment_hash
    if payment.amount_estimated:
        yield "amount", "an estimate: cents were sent, and Flash's custodian decides what they buy"
    if payment.failure is not None:
        yield "why", payment.failure
    if payment.way_out is not None:
        yield "way out", payment.way_out
    if payment.settled_by_hand is not None:
        yield "by hand", payment.settled_by_hand


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
    output.text("paid before: nothing was sent now" if response.paid_before else "paid", style="green")
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
