"""`flash-driver demo`: the main job before one's eyes, on a sandbox of its own; needs no account and no network."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from connection_strings.factory import LightningClientFactory
from connection_strings.grammar import ConnectionString
from connection_strings.lightning import LightningClient, LightningInvoice, LightningInvoiceStatus
from connection_strings.money import LightMoney
from flash_driver._version import __version__
from flash_driver.cli.amounts import parse_amount, shown_amount
from flash_driver.cli.failures import BadUsage, CommandFailed, Exit
from flash_driver.cli.logs import log_to
from flash_driver.cli.options import AsJson, Verbose
from flash_driver.cli.output import Output, show_qr
from flash_driver.cli.session import flash_client
from flash_driver.cli.story import StepFailed, Story
from flash_driver.cli.values import invoice_json
from flash_driver.transports.call_log import shown

if TYPE_CHECKING:
    from flash_driver.sandbox import Sandbox

__all__ = ["demo"]

ServerKind: TypeAlias = Literal["accept", "decline", "close"]

_TITLES: dict[ServerKind, str] = {
    "accept": "A server that executes mutations on its WebSocket",
    "decline": "A server that declines them: fallback to HTTP",
    "close": "A server that closes the socket on them: fallback to HTTP",
}
_CARRIED_BY: dict[ServerKind, str] = {"accept": "websocket", "decline": "http", "close": "http"}
_PATIENCE_SECONDS = 10.0
_LOOK_SECONDS = 0.01


def demo(
    *,
    server_kind: Annotated[
        ServerKind | None,
        typer.Option(help="Show only what happens on this kind of server; by default accept, then decline."),
    ] = None,
    sats: Annotated[str, typer.Option(metavar="AMOUNT", help="What the invoice is over.")] = "1000",
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Show it all on a sandbox: a connection string, an invoice over the WebSocket, its payment, the news of it."""
    output = Output(as_json=as_json, verbose=verbose)
    amount = parse_amount("--sats", sats)
    if amount.msat <= 0:
        raise BadUsage("--sats must be more than zero")
    output.text(f"flash-driver {__version__}: from one connection string to a paid invoice, offline\n")
    kinds: tuple[ServerKind, ...] = ("accept", "decline") if server_kind is None else (server_kind,)
    acts: list[Story] = []
    for place, kind in enumerate(kinds):
        story = Story(output, f"{place + 1}. {_TITLES[kind]}")
        acts.append(story)
        with _own_settings(), log_to(output, story.hear):
            asyncio.run(_play(output, story, kind, amount, compact=place > 0))
        if story.failed is not None:
            break
        output.text()
    return _end(output, acts)


def _end(output: Output, acts: list[Story]) -> Exit:
    failed = next((story.failed for story in acts if story.failed is not None), None)
    if failed is not None:
        told = [story.as_json for story in acts]
        raise CommandFailed("demo-failed", f"the demonstration failed at {failed}", {"acts": told})
    if output.as_json:
        output.document({"ok": True, "acts": [story.as_json for story in acts]})
    else:
        output.paragraph("Both the invoice and the news of its payment arrived.")
        output.paragraph("Next: flash-driver doctor --help")
    return Exit.OK


async def _play(output: Output, story: Story, kind: ServerKind, amount: LightMoney, *, compact: bool) -> None:
    """Play one act; how it ended is in the story."""
    async with AsyncExitStack() as stack:
        try:
            with story.step("sandbox", quiet=compact) as step:
                sandbox = await stack.enter_async_context(_sandbox(kind))
                step.found = f"a Flash-compatible server on {sandbox.server.partition('//')[2].partition('/')[0]}"
            with story.step("string", quiet=compact) as step:
                masked = repr(ConnectionString.parse(sandbox.connection_string))
                step.found = masked.removeprefix("<ConnectionString ").removesuffix(">").replace(";", "; ")
            with story.step("client", quiet=compact) as step:
                client = await stack.enter_async_context(LightningClientFactory().create(sandbox.connection_string))
                step.found = f"{type(client).__name__}, made from it; not connected yet"
            invoice = await _create(output, story, client, kind, amount, compact=compact)
            await _hear_payment(story, stack, client, sandbox, invoice)
        except StepFailed:
            return


def _sandbox(kind: ServerKind) -> "Sandbox":
    from flash_driver.sandbox import Sandbox, SandboxOptions  # noqa: PLC0415 - needs the extra `sandbox`

    return Sandbox(SandboxOptions(ws_mutations=kind))


async def _create(
    output: Output, story: Story, client: LightningClient, kind: ServerKind, amount: LightMoney, *, compact: bool
) -> LightningInvoice:
    with story.step("invoice") as step:
        invoice = await client.create_invoice(amount, "coffee", timedelta(minutes=15))
        done = next((entry for entry in reversed(step.log) if entry.get("payment_hash") == invoice.payment_hash), {})
        step.transport = done.get("transport")
        step.found = f"{shown_amount(invoice.amount)} for {shown_amount(amount)} asked, {invoice.id[:12]}..."
        step.facts = {"invoice": invoice_json(invoice)}
        if step.transport != _CARRIED_BY[kind]:
            raise StepFailed(f"it came over {shown(step.transport or 'nothing known')}")
    if not compact and not output.as_json:
        output.text()
        show_qr(output, invoice.bolt11)
        output.text(f"\n{invoice.bolt11}\n")
    return invoice


async def _hear_payment(
    story: Story, stack: AsyncExitStack, client: LightningClient, sandbox: "Sandbox", invoice: LightningInvoice
) -> None:
    with story.step("listener") as step:
        listener = await stack.enter_async_context(await client.listen())
        heard_by = step.transport = await _listening(client)
        step.found = "one subscription hears of every settled invoice"
    with story.step("payment") as step:
        preimage = sandbox.pay(invoice.bolt11)
        step.found = f"somebody pays at the sandbox, preimage {preimage[:12]}..."
        step.facts = {"preimage": preimage}
    with story.step("settled") as step:
        step.transport = heard_by
        async with asyncio.timeout(_PATIENCE_SECONDS):
            paid = await listener.wait_invoice()
        if paid.id != invoice.id or paid.status is not LightningInvoiceStatus.PAID:
            raise StepFailed("another invoice than the one paid was heard of")
        step.found = f"{shown_amount(paid.amount_received)} received, {paid.id[:12]}..."
        step.facts = {"invoice": invoice_json(paid)}


async def _listening(client: LightningClient) -> str:
    """Wait until it is known how settlements are heard of, and name the transport."""
    from flash_driver.settlements.health import Listening  # noqa: PLC0415 - as above

    if (flash := flash_client(client)) is None:
        raise StepFailed("the factory made a client of another driver")
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while flash.health.listening is Listening.CONNECTING:  # noqa: ASYNC110 - health is a snapshot and wakes nobody
            await asyncio.sleep(_LOOK_SECONDS)
    if flash.health.listening is not Listening.HEARING:
        raise StepFailed(f"the subscription did not come about: {flash.health.reason}")
    return "websocket"


@contextmanager
def _own_settings() -> Iterator[None]:
    """Keep the user's settings, and above all the journal, out of the demonstration."""
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FLASH_")}
    os.environ["FLASH_JOURNAL_URL"] = "memory:"
    try:
        yield
    finally:
        del os.environ["FLASH_JOURNAL_URL"]
        os.environ.update(saved)
