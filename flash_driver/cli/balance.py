"""`flash-driver balance`."""

from connection_strings.lightning import LightningClient
from flash_driver.cli.amounts import shown_amount
from flash_driver.cli.failures import Exit
from flash_driver.cli.options import AsJson, Connection, File, Verbose
from flash_driver.cli.output import Output
from flash_driver.cli.session import run_with_client
from flash_driver.cli.values import balance_json, shown_time

__all__ = ["balance"]


def balance(
    *, as_json: AsJson = False, verbose: Verbose = False, connection: Connection = None, file: File = None
) -> int:
    """Show what the wallet holds."""
    output = Output(as_json=as_json, verbose=verbose)

    async def work(client: LightningClient) -> Exit:
        found = await client.get_balance()
        if as_json:
            output.document(balance_json(found))
            return Exit.OK
        estimate = found.estimate
        if estimate is None:
            output.text(shown_amount(found.offchain.local))
        else:
            output.text(f"{estimate.minor_units / 100:,.2f} {estimate.currency}")
            output.text(f"about {shown_amount(found.offchain.local)}, at the price of {shown_time(estimate.rate_time)}")
        return Exit.OK

    return run_with_client(output, connection, file, work)
