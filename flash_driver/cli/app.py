"""Puts the commands together, and turns whatever goes wrong into one line and an exit status.

A command's module is loaded when the command is called: what a command needs costs no other one, nor the help.
"""

import contextlib
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import getdoc
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from flash_driver._version import __version__
from flash_driver.cli.failures import Exit, explain
from flash_driver.cli.output import Output

__all__ = ["COMMANDS", "Command", "make_app", "run"]

_COMPLETION: Final = "_FLASH_DRIVER_COMPLETE"
"""The variable in which a shell asks for words to complete."""


class _PlainCommand(TyperCommand):
    """A command whose help shows what a person types, not the types of the program."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _show_no_types(self.params)


def _show_no_types(parameters: Collection[Any]) -> None:
    """Leave `<bool>` of a switch out of the help, and the braces and type of an argument: `AMOUNT`, `[STRING]`."""
    for each in parameters:
        if getattr(each, "is_bool_flag", False):
            each.metavar = ""
        elif each.param_type_name == "argument":
            name = each.metavar if each.required else f"[{each.metavar}]"
            each.get_usage_pieces = partial(_say, [name if each.nargs == 1 else f"{name}..."])
            each.display_type_rich = partial(_say, None)


def _say(answer: Any, *_: object, **__: object) -> Any:
    return answer


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of them, that is not loaded yet.

    Attributes:
        name: As it is typed.
        module: Where it is, below `flash_driver.cli`.
        help: What it does, for the list of commands; the first paragraph of its own help.
        is_group: Whether it has commands of its own: then the module has a Typer `app`, else a function of its name.

    """

    name: str
    module: str
    help: str
    is_group: bool = False

    def add_to(self, app: typer.Typer, *, loaded: bool) -> None:
        """Add it to the program; only its name and what it does, where it is not called."""
        module = import_module(f"flash_driver.cli.{self.module}") if loaded else None
        if self.is_group:
            if module is not None:
                _show_well(module.app)
            app.add_typer(
                typer.Typer() if module is None else module.app, name=self.name, help=self.help, short_help=self.help
            )
        else:
            does = _not_loaded if module is None else getattr(module, self.name)
            app.command(self.name, cls=_PlainCommand, help=self.help, short_help=self.help)(does)


COMMANDS: Final = (
    Command(
        "demo",
        "demo",
        "Show it all on a sandbox: a connection string, an invoice over the WebSocket, its payment, the news of it.",
    ),
    Command("login", "login", "Get a session token from Flash, and show the finished connection string."),
    Command("api-key", "api_keys", "Make, list and end the API keys of an account.", is_group=True),
    Command(
        "doctor",
        "doctor",
        "Show what works with a server and token, and what to do about the rest. Creates nothing, pays nothing.",
    ),
    Command("invoice", "invoices", "Create invoices, look them up, and hear that they were paid.", is_group=True),
    Command("balance", "balance", "Show what the wallet holds."),
    Command(
        "pay",
        "payments",
        "Pay an invoice, or a payee who makes one. Exit status 3: it may have been paid, do not pay again.",
    ),
    Command(
        "payment", "payments", "Look payments up, list them, and settle by hand what stays unknown.", is_group=True
    ),
    Command(
        "journal", "journals", "Look at the journal that FLASH_JOURNAL_URL names, and keep it in order.", is_group=True
    ),
    Command("sandbox", "sandbox", "Serve a Flash-compatible server until SIGINT or SIGTERM."),
    Command("host", "host", "Serve a demo shop, its checkout page and its APIs on a sandbox, until SIGINT or SIGTERM."),
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        print(f"flash-driver {__version__}")  # noqa: T201 - the one output without a command
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


def _show_well(group: typer.Typer) -> None:
    """Let a group's help show what each command does to its end, not the first 45 characters, and no types."""
    for each in group.registered_commands:
        each.cls = _PlainCommand
        summary = (getdoc(each.callback) or "").partition("\n\n")[0]
        each.short_help = " ".join(summary.split())


def _not_loaded() -> None:
    """Stand for a command that is not called."""


def make_app(called: Collection[str] | None = None) -> typer.Typer:
    """Return the program.

    Args:
        called: The words that it is called with: commands that are not among them are listed only. None for all.

    """
    app = typer.Typer(
        name="flash-driver",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="The Lightning driver for Flash: from one connection string to paid invoices.",
        epilog="Exit status: 0 it worked; 1 it did not; 2 the command or connection string is not right; "
        "3 a payment may have been made, do not pay again.",
    )
    app.callback()(_root)
    for command in COMMANDS:
        command.add_to(app, loaded=called is None or command.name in called)
    return app


def run(arguments: list[str]) -> int:
    """Run the command that the arguments name; never raises."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    output = Output(as_json="--json" in options, verbose="--verbose" in options or "-v" in options)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that can't show a character gets a question mark
    try:
        command = typer.main.get_command(make_app(None if _COMPLETION in os.environ else arguments))
        _show_no_types(command.params)
        return int(command.main(arguments, prog_name="flash-driver", standalone_mode=False) or Exit.OK)
    except typer.Exit as end:
        return end.exit_code
    except (BrokenPipeError, SystemExit):  # rich, when it shows help to nobody, ends the process
        return _reader_gone()
    except BaseException as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        _show_help_instead_of_message(error, output)
        failure = explain(error)
        if failure.kind == "internal":
            output.trace(error)
        try:
            output.failure(failure)
        except BrokenPipeError:
            return _reader_gone()
        return failure.status


def _show_help_instead_of_message(error: Any, output: Output) -> None:
    """Show the help that typer makes the message of its error where no command is named; it is none."""
    help_text = str(getattr(error, "message", ""))
    if help_text.startswith("Usage: "):
        output.text(help_text)
        error.message = ""


def _reader_gone() -> int:
    """Nobody reads any more: let what is still buffered go nowhere, or the interpreter complains at its end."""
    with contextlib.suppress(OSError):  # an output that is no file has nothing buffered below it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.BROKEN_PIPE
