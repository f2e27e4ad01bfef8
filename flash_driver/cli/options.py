"""The options that several commands share."""

from typing import Annotated, TypeAlias

import typer

from flash_driver.cli.source import VARIABLE

__all__ = ["Amount", "AsJson", "Connection", "File", "Verbose"]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON for programs, also about errors.")]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Show the driver's log on standard error.")]
Connection: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--connection",
        "-c",
        metavar="STRING",
        help=f"The connection string; better in {VARIABLE} or --file, where no other user can read it.",
    ),
]
File: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--file",
        "-f",
        metavar="PATH",
        help="Read the connection string from this file's first line; - is standard input.",
    ),
]
Amount: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="AMOUNT",
        help="1000, 1000 sat, 21000 msat or 0.001 BTC. A bare number is satoshi; 0 lets the payer choose.",
        show_default=False,
    ),
]
