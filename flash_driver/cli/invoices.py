"""`flash-driver invoice`: create, look up, list, and hear that they were paid."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from connection_strings.lightning import (
    CreateInvoiceParams,
    LightningClient,
    LightningInvoice,
    LightningInvoiceListener,
    LightningInvoiceStatus,
    ListInvoicesParams,
)
from flash_driver.cli.amounts import parse_amount, parse_duration, shown_amount
from flash_driver.cli.failures import CommandFailed, Exit
from flash_driver.cli.journals import where_invoices_are_known
from flash_driver.cli.options import Amount, AsJson, Connection, File, Verbose
from flash_driver.cli.output import Output, show_qr
from flash_driver.cli.session import flash_client, run_with_client
from flash_driver.cli.values import invoice_json, shown_time

__all__ = ["app", "create", "get", "list_", "watch"]

_ASK_AGAIN_SECONDS = 2.0

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    amount: Amount,
    *,
    description: Annotated[
        str, typer.Option("--description", "-d", metavar="WORDS", help="What the payer reads.")
    ] = "",
    expiry: Annotated[
        str, typer.Option(metavar="TIME", help="15m, 90s, 1h30m. Flash caps it, at present to 60 s.")
    ] = "15m",
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Stay until it is paid (exit 0) or has expired (1); with --json a second document tells which.",
        ),
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """Create an invoice."""
    output = Output(as_json=as_json, verbose=verbose)
    asked, lasts = parse_amount("AMOUNT", " ".join(amount)), parse_duration("--expiry", expiry)
    params = CreateInvoiceParams(asked, description, lasts)

    async def work(client: LightningClient) -> Exit:
        if not wait:
            _show_new(output, await client.create_invoice(params))
            return Exit.OK
        # The listener comes first, so that no settlement falls between the two.
        async with await client.listen() as listener:
            invoice = await client.create_invoice(params)
            _show_new(output, invoice)
            output.text("waiting for the payment ...", style="dim")
            return _show_end(output, await _wait_for_end(client, listener, invoice))

    return run_with_client(output, connection, file, work)


@app.command()
def get(
    invoice_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, which is its payment hash.")],
    *,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """Show how an invoice stands now."""
    output = Output(as_json=as_json, verbose=verbose)

    async def work(client: LightningClient) -> Exit:
        invoice = await client.get_invoice(invoice_id)
        if invoice is None:
            raise CommandFailed("unknown-invoice", f"this journal has no such invoice; {where_invoices_are_known()}")
        if as_json:
            output.document(invoice_json(invoice))
        else:
            _show(output, invoice)
        return Exit.OK

    return run_with_client(output, connection, file, work)


@app.command("list")
def list_(
    *,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that may still be paid.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Those that the server made and nobody was given.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """List the invoices of the journal, oldest first."""
    output = Output(as_json=as_json, verbose=verbose)

    async def work(client: LightningClient) -> Exit:
        if orphans and (flash := flash_client(client)) is not None:
            invoices = await flash.list_orphans()
        else:
            invoices = await client.list_invoices(ListInvoicesParams(pending_only=pending))
        if as_json:
            output.document({"invoices": [invoice_json(invoice) for invoice in invoices]})
        elif invoices:
            _show_list(output, invoices)
        else:
            output.text(f"no {'pending ' if pending else ''}invoices; {where_invoices_are_known()}")
        return Exit.OK

    return run_with_client(output, connection, file, work)


@app.command()
def watch(
    *,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind this cursor, as an earlier watch told it.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after this number of invoices; by default never.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    connection: Connection = None,
    file: File = None,
) -> int:
    """Show each invoice as it is paid, until interrupted; with --json one document a line."""
    output = Output(as_json=as_json, verbose=verbose)

    async def work(client: LightningClient) -> Exit:
        async with await client.listen(after=after) as listener:
            output.text(f"watching from cursor {listener.cursor}; Ctrl-C ends it", style="dim")
            left = count
            while left is None or left > 0:
                invoice = await listener.wait_invoice()
                if as_json:
                    output.document({"cursor": listener.cursor, "invoice": invoice_json(invoice)})
                else:
                    received = shown_amount(invoice.amount_received)
                    output.text(f"paid  {received}  {invoice.id}  cursor {listener.cursor}", style="green")
                left = None if left is None else left - 1
        return Exit.OK

    return run_with_client(output, connection, file, work)


async def _wait_for_end(
    client: LightningClient, listener: LightningInvoiceListener, invoice: LightningInvoice
) -> LightningInvoice:
    """Wait until an invoice is paid or certainly can't be any more; past its life the server is asked."""
    from flash_driver.settings.process import ProcessSettings  # noqa: PLC0415 - no command's help needs pydantic

    grace = timedelta(seconds=ProcessSettings.from_environment().expiry_grace_seconds)
    patience = (invoice.expires_at + grace - datetime.now(UTC)).total_seconds()
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(patience, _ASK_AGAIN_SECONDS)):
                return await _heard(listener.wait_invoice, invoice.id)
        patience = 0
        now = await client.get_invoice(invoice.id)
        if now is not None and now.status is not LightningInvoiceStatus.UNPAID:
            return now


async def _heard(wait_invoice: Callable[[], Awaitable[LightningInvoice]], invoice_id: str) -> LightningInvoice:
    while (paid := await wait_invoice()).id != invoice_id:
        pass
    return paid


def _show_new(output: Output, invoice: LightningInvoice) -> None:
    if output.as_json:
        output.document(invoice_json(invoice))
        return
    if output.console.is_terminal:
        show_qr(output, invoice.bolt11)
    output.text(invoice.bolt11)
    output.text(f"{shown_amount(invoice.amount)}, payable until {shown_time(invoice.expires_at)}")
    output.text(f"id {invoice.id}", style="dim")


def _show_end(output: Output, invoice: LightningInvoice) -> Exit:
    paid = invoice.status is LightningInvoiceStatus.PAID
    if output.as_json:
        output.document(invoice_json(invoice))
    elif paid:
        output.text(f"paid: {shown_amount(invoice.amount_received)}", style="green")
    else:
        output.text("expired without a payment", style="red")
    return Exit.OK if paid else Exit.FAILURE


def _show(output: Output, invoice: LightningInvoice) -> None:
    output.text(f"{invoice.status.value}  {shown_amount(invoice.amount)}")
    if invoice.paid_at is not None:
        output.text(f"paid       {shown_amount(invoice.amount_received)} at {shown_time(invoice.paid_at)}")
    else:
        output.text(f"expires    {shown_time(invoice.expires_at)}")
    output.text(f"id         {invoice.id}")
    output.text(f"bolt11     {invoice.bolt11}")


def _show_list(output: Output, invoices: list[LightningInvoice]) -> None:
    """Show two lines for each: beside its id, which must not be broken, a narrow terminal has room for nothing else."""
    amounts = [shown_amount(invoice.amount) for invoice in invoices]
    width = max(map(len, amounts))
    for invoice, amount in zip(invoices, amounts, strict=True):
        when = f"until {shown_time(invoice.expires_at)}"
        if invoice.paid_at is not None:
            when = f"at    {shown_time(invoice.paid_at)}"
        output.text(f"{invoice.status.value:<7}  {amount:>{width}}  {when}")
        output.text(f"  {invoice.id}", style="dim")
