"""A demonstration as it happens: steps, what the driver logs during each, and the transport that carried it."""

from __future__ import annotations

import textwrap
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from connection_strings.errors import LightningError
from flash_driver.transports.call_log import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flash_driver.cli.output import Output

__all__ = ["Step", "StepFailed", "Story"]

_TOLD: Final = ("info", "warning", "error")
_INDENT: Final = 26
"""Where the words of a step begin: behind its mark, name and transport."""
_NARROWEST: Final = 24


class StepFailed(Exception):
    """A step of the demonstration did not do what it should."""


@dataclass(slots=True)
class Step:
    """One step.

    Attributes:
        name: A word for it.
        transport: What carried it: websocket, http or graphql; None when nothing had to be carried.
        found: What came of it, for a person.
        facts: The same for a program.
        log: What the driver logged meanwhile.
        seconds: How long it took.

    """

    name: str
    transport: str | None = None
    found: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0


class Story:
    """Tells one act, step by step.

    Args:
        output: Where to.
        title: What the act is about.

    """

    def __init__(self, output: Output, title: str) -> None:
        self._output = output
        self._marks = ("✓", "✗") if output.console.encoding.startswith("utf") else ("+", "x")
        self._now: Step | None = None
        self.title = title
        self.steps: list[Step] = []
        self.failed: str | None = None
        output.text(title, style="bold")

    @contextmanager
    def step(self, name: str, *, quiet: bool = False) -> Iterator[Step]:
        """Tell a step: what happens during it as it happens, and its end.

        Args:
            name: A word for it.
            quiet: Whether to tell of it only if it fails.

        Raises:
            StepFailed: It failed; that has been told.

        """
        step = self._now = Step(name)
        self.steps.append(step)
        started = time.perf_counter()
        try:
            yield step
        except (StepFailed, LightningError, TimeoutError, OSError) as error:
            # A step that takes too long ends as a TimeoutError without words.
            words = str(error) or "nothing happened in time"
            self.failed = f"{name}: {words}"
            self._line(self._marks[1], step, words, "red")
            raise StepFailed(self.failed) from error
        finally:
            step.seconds = time.perf_counter() - started
            self._now = None
        if not quiet:
            self._line(self._marks[0], step, step.found, "green")

    def hear(self, level: str, event: str, values: Mapping[str, Any]) -> None:
        """Take an event of the driver's log into the step that is under way."""
        if level not in _TOLD:
            return
        told = {key: str(value) for key, value in values.items() if key != "level"}
        if self._now is not None:
            self._now.log.append({"event": event, **told})
        why = f" ({told['why']})" if "why" in told else ""
        self._write("", f"{event}{why}", "dim")

    @property
    def as_json(self) -> dict[str, Any]:
        """The act for a program."""
        steps = [
            {"step": step.name, "transport": step.transport, "seconds": round(step.seconds, 4), **step.facts}
            | ({"log": step.log} if step.log else {})
            for step in self.steps
        ]
        return {"title": self.title, "ok": self.failed is None, "steps": steps}

    def _line(self, mark: str, step: Step, words: str, style: str) -> None:
        carrier = "" if step.transport is None else shown(step.transport)
        self._write(f"  {mark} {step.name:<9} {carrier:<10}", words, style)

    def _write(self, head: str, words: str, style: str) -> None:
        width = max(_NARROWEST, self._output.console.width - _INDENT)
        lines = textwrap.wrap(words, width, break_on_hyphens=False) or [""]
        self._output.text(f"{head:<{_INDENT}}{lines[0]}", style=style)
        for line in lines[1:]:
            self._output.text(f"{'':{_INDENT}}{line}", style=style)
