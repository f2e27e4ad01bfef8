"""Puts the commands together, and turns whatever goes wrong into one line and an exit status."""

import contextlib
import os
import sys
from typing import Annotated, Any

import typer

from flash_driver._version import __version__
from flash_driver.cli import api_keys, invoices, journals, payments
from flash_driver.cli.balance import balance
from flash_driver.cli.demo import demo
from flash_driver.cli.doctor import doctor
from flash_driver.cli.failures import Exit, explain
from flash_driver.cli.host import host
from flash_driver.cli.login import login
from flash_driver.cli.output import Output
from flash_driver.cli.sandbox import sandbox

__all__ = ["app", "run"]

app = typer.Typer(
    name="flash-driver",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="The Lightning driver for Flash: from one connection string to paid invoices.",
    epilog="Exit status: 0 it worked; 1 it did not; 2 the command or connection string is not right; "
    "3 a payment may have been made, do not pay again.",
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        print(f"flash-driver {__version__}")  # noqa: T201 - the one output without a command
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


app.command()(demo)
app.command()(login)
app.add_typer(api_keys.app, name="api-key")
app.command()(doctor)
app.add_typer(invoices.app, name="invoice")
app.command()(balance)
app.command()(payments.pay)
app.add_typer(payments.app, name="payment")
app.add_typer(journals.app, name="journal")
app.command()(sandbox)
app.command()(host)


def run(arguments: list[str]) -> int:
    """Run the command that the arguments name; never raises."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    output = Output(as_json="--json" in options, verbose="--verbose" in options or "-v" in options)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that can't show a character gets a question mark
    try:
        command = typer.main.get_command(app)
        _show_no_type_of_switches(command)
        return int(command.main(arguments, prog_name="flash-driver", standalone_mode=False) or Exit.OK)
    except typer.Exit as end:
        return end.exit_code
    except (BrokenPipeError, SystemExit):  # rich, when it shows help to nobody, ends the process
        return _reader_gone()
    except BaseException as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        failure = explain(error)
        if failure.kind == "internal":
            output.trace(error)
        try:
            output.failure(failure)
        except BrokenPipeError:
            return _reader_gone()
        return failure.status


def _show_no_type_of_switches(command: Any) -> None:
    """Leave `<bool>` out of the help: a switch takes no value."""
    for option in command.params:
        if getattr(option, "is_bool_flag", False):
            option.metavar = ""
    for each in getattr(command, "commands", {}).values():
        _show_no_type_of_switches(each)


def _reader_gone() -> int:
    """Nobody reads any more: let what is still buffered go nowhere, or the interpreter complains at its end."""
    with contextlib.suppress(OSError):  # an output that is no file has nothing buffered below it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.BROKEN_PIPE
