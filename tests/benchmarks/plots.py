"""What is drawn of the figures; each drawing is an SVG in docs/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.execute import STOCK
from tests.benchmarks.svg import Bar, Line, bars, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Figures = Mapping[str, Any]

__all__ = ["draw"]

_MIDDLE: Final = 64
_AIMS: Final[Mapping[str, float]] = {"warm": 1.05, "many": 1.5, "settle": 0.55, "settle, believed": 0.55}
_WAITS: Final[Mapping[str, str]] = {
    "cold, first": "first invoice of a process",
    "cold": "invoice without a connection",
    "warm": "invoice",
    "many": "{many} invoices",
    "settle": "settlement heard, and asked",
    "settle, believed": "settlement heard, believed",
}
_OURS: Final = 0
_OTHERS: Final = 1
_FLOOR: Final = 5


def draw(figures: Mapping[str, Figures]) -> dict[str, str]:
    """Return each drawing, by the name of its file, of whatever was measured."""
    made: dict[str, str] = {}
    for section, (name, paint) in _DRAWINGS.items():
        if section in figures:
            made[name] = paint(figures[section])
    if "accounts" in figures and "pending" in figures:
        made["performance-scale.svg"] = _scale(figures["accounts"], figures["pending"])
    return made


def _execute(figures: Figures) -> str:
    numbers = {row["in_flight"] for row in figures["rows"]}
    number = _MIDDLE if _MIDDLE in numbers else max(numbers)
    rows = [row for row in figures["rows"] if row["in_flight"] == number]
    # gql over httpx takes so much more than all else that it would hide the rest.
    limit = 2 * min((row["cpu"]["median"] for row in rows if row["way"] == STOCK), default=float("inf"))
    return bars(
        f"One GraphQL operation, {number} in flight",
        f"Medians of {figures['rounds']} rounds; loopback, client and server in processes of their own.",
        [
            ("requests per second (longer is better)", _bars(rows, "per_second", 1, 0)),
            ("client CPU per request, µs (shorter is better)", _bars(rows, "cpu", 1, 0, limit)),
        ],
    )


def _create(figures: Figures) -> str:
    groups = [
        (f"invoices per second, {number} at once", _bars(_rows(figures, number), "per_second", 1, 0))
        for number in dict.fromkeys(row["at_once"] for row in figures["rows"])
    ]
    most = max(row["at_once"] for row in figures["rows"])
    groups.append((f"client CPU per invoice, ms, {most} at once", _bars(_rows(figures, most), "cpu", 1000, 2)))
    note = "Ours checks and journals each invoice (SQLite); BlinkWallet hands on what the server sent."
    return bars("A complete invoice", note, groups)


def _lnbits(figures: Figures) -> str:
    groups: list[tuple[str, list[Bar]]] = []
    for what in dict.fromkeys(row["what"] for row in figures["rows"]):
        rows = [row for row in figures["rows"] if row["what"] == what]
        groups.append((f"{what}, a second (longer is better)", _bars(rows, "per_second", 1, 0)))
        groups.append((f"{what}, 99th percentile, ms (shorter is better)", _bars(rows, "p99", 1000, 0)))
    note = f"Medians of {figures['rounds']} rounds; each server with SQLite, both over wallets on one responder."
    return bars(f"The host beside LNbits, {figures['at_once']} at once", note, groups)


def _rows(figures: Figures, at_once: int) -> list[Mapping[str, Any]]:
    return [row for row in figures["rows"] if row["at_once"] == at_once]


def _bars(
    rows: Sequence[Mapping[str, Any]], name: str, unit: float, digits: int, limit: float = float("inf")
) -> list[Bar]:
    """Return a bar for each row; one beyond the limit ends there and says so."""
    made = []
    for row in rows:
        value = row[name]["median"] / unit
        label = f"{value:,.{digits}f}" + (", cut off" if value > limit else "")
        made.append(Bar(row["way"], min(value, limit), label, _colour_of(row["way"])))
    return made


def _colour_of(way: str) -> int:
    if way in ("raw websockets", "raw picows"):
        return _FLOOR
    return _OURS if way.startswith("our ") else _OTHERS


def _latency(figures: Figures) -> str:
    drawn = [
        Bar(
            _WAITS[row["what"]].format(many=figures["many"]) + (", sandbox" if row["server"] == "sandbox" else ""),
            row["round_trips"]["median"],
            f"{row['round_trips']['median']:.2f}",
            _OURS if row["server"] == "responder" else _OTHERS,
            _AIMS.get(row["what"]) if row["server"] == "responder" else None,
        )
        for row in figures["rows"]
    ]
    title = f"What a host waits for over {1000 * figures['round_trip_seconds']:.0f} ms, in round trips"
    return bars(title, "The dashed line is the aim, where there is one.", [("round trips (shorter is better)", drawn)])


def _scale(accounts: Figures, pending: Figures) -> str:
    open_accounts = [(row["accounts"], row["bytes_each"]["median"] * row["accounts"]) for row in accounts["rows"]]
    watched = [(row["pending"], row["bytes_each"]["median"] * row["pending"]) for row in pending["rows"]]
    heard = [(row["pending"], row["seconds_to_settle"]["median"] * 1000) for row in pending["rows"]]
    panels = [
        (
            "memory of idle accounts that listen, bytes",
            "accounts",
            [Line("accounts", open_accounts, 0), _in_proportion(open_accounts)],
        ),
        (
            "memory of pending invoices beyond the journal, bytes",
            "pending",
            [Line("pending", watched, 1), _in_proportion(watched)],
        ),
        ("until a settlement is heard, ms", "pending", [Line("settlement", heard, 2)]),
    ]
    return lines("Scale", "Both axes are logarithmic; dashed is what grows in proportion.", panels, log=True)


def _in_proportion(points: Sequence[tuple[float, float]]) -> Line:
    """Return the line through the last point on which twice as many take twice as much."""
    x, y = points[-1]
    return Line("", [(points[0][0], y * points[0][0] / x), (x, y)], _FLOOR, dashed=True)


def _soak(figures: Figures) -> str:
    samples = figures["samples"]

    def course(name: str, unit: float = 1) -> list[tuple[float, float]]:
        return [(sample["seconds"] / 60, sample[name] / unit) for sample in samples]

    panels = [
        ("memory, MiB", "minutes", [Line("resident", course("resident_bytes", 2**20), 0)]),
        (
            "held",
            "minutes",
            [
                Line("tasks", course("tasks"), 1),
                Line("descriptors", course("descriptors"), 2),
                Line("timers", course("timers"), 3),
            ],
        ),
        ("unpaid invoices that are watched", "minutes", [Line("watched", course("watched"), 4)]),
    ]
    note = f"{figures['per_second']:g} invoices a second, {sum(figures['faults'].values())} faults."
    return lines("Soak", note, panels, log=False)


def _told(figures: Figures) -> str:
    courses = [
        Line(
            row["situation"],
            [(seconds, 100 * float(share)) for share, seconds in row["seconds"].items()],
            number,
        )
        for number, row in enumerate(figures["rows"])
    ]
    note = f"{figures['invoices']} invoices each, paid at random moments of {figures['life_seconds']:.0f} s."
    return lines(
        "From payment to listener",
        note,
        [("share of the payments that were told by then, %", "seconds", courses)],
        log=False,
    )


def _replicas(figures: Figures) -> str:
    def course(name: str) -> list[Line]:
        kinds = dict.fromkeys(row["accounts"] for row in figures["rows"])
        return [
            Line(
                kind,
                [(row["processes"], row[name]["median"]) for row in figures["rows"] if row["accounts"] == kind],
                number,
            )
            for number, kind in enumerate(kinds)
        ]

    panels = [
        ("invoices kept a second", "processes", course("made_per_second")),
        ("settlements kept a second", "processes", course("settled_per_second")),
        ("notifications received for each of them", "processes", course("notifications_each")),
    ]
    note = f"{figures['at_once']} calls at once in each process; all of it on one machine."
    return lines("Processes on one PostgreSQL", note, panels, log=False)


_DRAWINGS: Final[Mapping[str, tuple[str, Callable[[Figures], str]]]] = {
    "execute": ("performance-execute.svg", _execute),
    "create": ("performance-create.svg", _create),
    "lnbits": ("performance-lnbits.svg", _lnbits),
    "latency": ("performance-latency.svg", _latency),
    "told": ("performance-told.svg", _told),
    "soak": ("performance-soak.svg", _soak),
    "replicas": ("performance-replicas.svg", _replicas),
}
