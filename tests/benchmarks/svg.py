"""Bars and lines as SVG, readable on light and on dark ground: text takes the colour that suits the reader's choice.

Written here, because a plotting library would be the largest thing that the tests need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bar", "Line", "bars", "lines"]

_WIDTH: Final = 860
_COLOURS: Final = ("#2f81c7", "#d1792b", "#4f9d4f", "#a065b8", "#c2504f", "#7f8a94")
_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px }
  .quiet { fill: #57606a; font-size: 12px }
  .rule { stroke: #8c959f; stroke-width: 1; stroke-opacity: .45 }
  .aim { stroke: #24292f; stroke-width: 2; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #adb6c0 } .aim { stroke: #e6edf3 } }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, or what belongs to one name.

    Attributes:
        name: What stands before it.
        value: How long it is.
        label: What stands behind it.
        colour: The number of its colour.
        aim: Where it should end, if that was said.

    """

    name: str
    value: float
    label: str
    colour: int = 0
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points.

    Attributes:
        name: What stands at its end.
        points: What it goes through.
        colour: The number of its colour.
        dashed: Whether it is there to compare with, and nothing that was measured.

    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False


@dataclass(slots=True)
class _Sheet:
    """An SVG that is being drawn."""

    height: float
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> None:
        shown = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{shown}>{escape(words)}</text>')

    def rule(self, x1: float, y1: float, x2: float, y2: float, kind: str = "rule") -> None:
        self.parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def render(self) -> str:
        size = f'width="{_WIDTH}" height="{self.height:.0f}" viewBox="0 0 {_WIDTH} {self.height:.0f}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        return "\n".join([head, f"<style>{_STYLE}</style>", *self.parts, "</svg>"]) + "\n"


def bars(title: str, note: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Draw groups of horizontal bars under one scale per group."""
    left, row, room = 250, 24, 150
    height = 62 + sum(34 + row * len(group) for _, group in groups)
    sheet = _Sheet(height)
    sheet.text(16, 26, title, kind="title")
    sheet.text(16, 46, note, kind="quiet")
    y = 62.0
    for name, group in groups:
        sheet.text(16, y + 20, name, kind="title")
        y += 30
        most = max(max(bar.value, bar.aim or 0) for bar in group) or 1
        scale = (_WIDTH - left - room) / most
        for bar in group:
            sheet.text(left - 10, y + 16, bar.name, anchor="end")
            colour = _COLOURS[bar.colour % len(_COLOURS)]
            length = max(1.0, bar.value * scale)
            sheet.parts.append(
                f'<rect x="{left}" y="{y + 3:.1f}" width="{length:.1f}" height="{row - 6}" rx="2" fill="{colour}"/>'
            )
            end = left + length
            if bar.aim is not None:
                at = left + bar.aim * scale
                sheet.rule(at, y, at, y + row, "aim")
                end = max(end, at)
            sheet.text(end + 8, y + 16, bar.label)
            y += row
        y += 4
    return sheet.render()


def lines(title: str, note: str, panels: Sequence[tuple[str, str, Sequence[Line]]], *, log: bool) -> str:
    """Draw panels of lines one below the other; each has a name, the name of its x axis, and its lines.

    Args:
        title: What it shows.
        note: What else there is to know.
        panels: What to draw; with `log` all values have to be above zero.
        log: Whether both axes are logarithmic; else both begin at zero.

    """
    left, right, panel, gap = 90, 150, 190, 84
    sheet = _Sheet(62 + len(panels) * (panel + gap))
    sheet.text(16, 26, title, kind="title")
    sheet.text(16, 46, note, kind="quiet")
    for number, (name, x_name, drawn) in enumerate(panels):
        top = 62 + 38 + number * (panel + gap)
        xs = [x for line in drawn for x, _ in line.points]
        ys = [y for line in drawn for _, y in line.points]
        across, up = _Axis.over(xs, log=log), _Axis.over(ys, log=log)
        sheet.text(16, top - 16, name, kind="title")
        sheet.text((left + _WIDTH - right) / 2, top + panel + 36, x_name, anchor="middle", kind="quiet")
        for tick in up.ticks:
            y = top + panel * (1 - up.place(tick))
            sheet.rule(left, y, _WIDTH - right, y)
            sheet.text(left - 8, y + 4, _short(tick), anchor="end", kind="quiet")
        for tick in across.ticks:
            x = left + (_WIDTH - right - left) * across.place(tick)
            sheet.text(x, top + panel + 18, _short(tick), anchor="middle", kind="quiet")
        ends: list[tuple[float, float, str, str]] = []
        for line in drawn:
            colour = _COLOURS[line.colour % len(_COLOURS)]
            spots = [
                (left + (_WIDTH - right - left) * across.place(x), top + panel * (1 - up.place(y)))
                for x, y in line.points
            ]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            look = 'stroke-width="1.5" stroke-dasharray="5 4"' if line.dashed else 'stroke-width="2"'
            sheet.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" {look}/>')
            if len(spots) < 20 and not line.dashed:
                sheet.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in spots]
            if line.name:
                ends.append((spots[-1][1], spots[-1][0], line.name, colour))
        free = 0.0
        for y, x, words, colour in sorted(ends):
            free = max(y + 4, free)
            sheet.parts.append(f'<circle cx="{x + 10:.1f}" cy="{free - 4:.1f}" r="4" fill="{colour}"/>')
            sheet.text(x + 20, free, words)
            free += 15  # lines that end close together have their names one below the other
    return sheet.render()


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where values lie between 0 and 1, and which of them are marked."""

    least: float
    most: float
    log: bool
    ticks: Sequence[float]

    @classmethod
    def over(cls, values: Sequence[float], *, log: bool) -> _Axis:
        if log:
            low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
            high = max(high, low + 1)
            return cls(low, high, log=True, ticks=[10.0**power for power in range(low, high + 1)])
        most = max(values) or 1
        step = 10.0 ** math.floor(math.log10(most))
        step = next(part for part in (step / 5, step / 2, step, step * 2) if most / part <= 6)
        count = math.ceil(most / step)
        return cls(0, step * count, log=False, ticks=[step * each for each in range(count + 1)])

    def place(self, value: float) -> float:
        value = math.log10(value) if self.log else value
        return (value - self.least) / (self.most - self.least)


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
