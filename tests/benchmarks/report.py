"""Figures as tables in Markdown, for the terminal and for docs/performance.md alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Figures = Mapping[str, Any]

__all__ = ["render"]


def render(section: str, figures: Figures) -> str:
    """Return the tables of one benchmark."""
    return _SECTIONS[section](figures)


def _execute(figures: Figures) -> str:
    tables = []
    for number in dict.fromkeys(row["in_flight"] for row in figures["rows"]):
        rows = [
            [
                row["way"],
                _around(row["per_second"], 0),
                _times(row, "throughput_of_stock"),
                _times(row, "throughput_of_floor"),
                _median(row["p50"], 1000, 2),
                _median(row["p99"], 1000, 2),
                _around(row["cpu"], 0),
                _times(row, "cpu_of_floor"),
                _median(row["busy"], 0.01, 0),
                _median(row["server_cpu"], 1, 0),
            ]
            for row in figures["rows"]
            if row["in_flight"] == number
        ]
        head = [
            f"{number} in flight",
            "requests/s",
            "x gql websockets",
            "x raw",
            "p50 ms",
            "p99 ms",
            "client CPU µs",
            "x raw",
            "client busy %",
            "server CPU µs",
        ]
        tables.append(_table(head, rows))
    return "\n\n".join(tables)


def _create(figures: Figures) -> str:
    head = [
        "",
        "at once",
        "invoices/s",
        "x BlinkWallet",
        "p50 ms",
        "p99 ms",
        "client CPU ms",
        "x BlinkWallet",
        "client busy %",
    ]
    rows = [
        [
            row["way"],
            f"{row['at_once']}",
            _around(row["per_second"], 0),
            _times(row, "throughput_of_blink"),
            _median(row["p50"], 1000, 2),
            _median(row["p99"], 1000, 2),
            _around(row["cpu"], 2, 1000),
            _times(row, "cpu_of_blink"),
            _median(row["busy"], 0.01, 0),
        ]
        for row in figures["rows"]
    ]
    return _table(head, rows)


_STEPS: Final = {
    "cold, first": "the first invoice of a process",
    "cold": "a client without a connection",
    "next process": "the first invoice of the next process, same journal",
    "warm": "a client that is connected",
    "many": "{many} invoices by `create_invoices`",
    "settle": "from the server's event to `wait_invoice`",
    "settle, believed": "the same with `FLASH_SETTLE_ON=event`",
}


def _latency(figures: Figures) -> str:
    rows = [
        [
            _STEPS[row["what"]].format(many=figures["many"]),
            row["server"],
            _around(row["round_trips"], 2),
            _median(row["round_trips"], 1 / (1000 * figures["round_trip_seconds"]), 0),
            _seen(row["seen"]),
        ]
        for row in figures["rows"]
    ]
    return _table(["", "server", "round trips", "ms", "what reached the server"], rows)


def _seen(seen: Mapping[str, int] | None) -> str:
    return "" if seen is None else ", ".join(f"{count} {name}" for name, count in seen.items())


def _accounts(figures: Figures) -> str:
    rows = [
        [
            f"{row['accounts']:,}",
            _around(row["bytes_each"], 1, 1024),
            _around(row["cpu_each"], 1),
            _median(row["seconds_to_open"], 1, 2),
            _median(row["tasks_each"], 1, 0),
            _median(row["sockets"], 1, 0),
        ]
        for row in figures["rows"]
    ]
    head = ["accounts", "KiB each", "CPU µs a second each", "s to open all", "tasks each", "sockets at the server"]
    return _table(head, rows)


def _pending(figures: Figures) -> str:
    rows = [
        [
            f"{row['pending']:,}",
            _around(row["bytes_each"], 0),
            _median(row["seconds_to_load"], 1, 2),
            _around(row["seconds_to_settle"], 1, 0.001),
            _around(row["seconds_to_newest"], 2),
            _median(row["requests_by_then"], 1, 0),
        ]
        for row in figures["rows"]
    ]
    head = [
        "pending",
        "bytes each",
        "s to load (traced)",
        "ms to hear one settlement",
        "s to find the newest after a loss",
        "status questions by then",
    ]
    return _table(head, rows)


def _aliasing(figures: Figures) -> str:
    rows = [
        [
            f"{row['count']}",
            row["way"],
            _around(row["milliseconds"], 0),
            _around(row["client_cpu"], 2),
            _median(row["server_cpu"], 1, 0),
            "yes" if row["fastest"] else "",
        ]
        for row in figures["rows"]
    ]
    return _table(["invoices", "way", "ms", "client CPU ms", "sandbox CPU ms", "wins"], rows)


def _imports(figures: Figures) -> str:
    rows = [
        [row["what"], _around(row["milliseconds"], 1), f"{row['beyond']:.1f}", ", ".join(row["loads"])]
        for row in figures["rows"]
    ]
    return _table(["", "ms, process included", "ms beyond bare Python", "loads, among others"], rows)


def _journal(figures: Figures) -> str:
    """Show milliseconds in the smallest and the largest journal, and how many times as long that is."""
    small, large = (f"{figures['sizes'][place]:,}" for place in (0, -1))
    databases = list(figures["rows"][0]["milliseconds"])
    head = ["ms", *(column for name in databases for column in (f"{name}, {small}", large, "times"))]
    rows = []
    for row in figures["rows"]:
        taken = [row["milliseconds"][name] for name in databases]
        cells = [cell for few, *_, many in taken for cell in (f"{few:.1f}", f"{many:.1f}", f"{many / few:.1f}")]
        rows.append([row["call"], *cells])
    return _table(head, rows)


def _host(figures: Figures) -> str:
    rows = [
        [
            row["database"],
            row["what"],
            f"{row['per_second']:.0f}",
            f"{row['p99'] * 1000:.0f}" if "p99" in row else "",
            f"{row['cpu'] * 1000:.2f}",
        ]
        for row in figures["rows"]
    ]
    return _table(["", "what", "a second", "p99 ms", "CPU ms"], rows)


def _lnbits(figures: Figures) -> str:
    rows = [
        [
            row["what"],
            row["way"],
            _around(row["per_second"], 0),
            _times(row, "per_second_of_lnbits"),
            _median(row["p50"], 1000, 0),
            _around(row["p99"], 0, 1000),
            _around(row["cpu"], 1, 1000),
            _times(row, "cpu_of_lnbits"),
        ]
        for row in figures["rows"]
    ]
    head = [f"{figures['at_once']} at once", "server", "a second", "x LNbits", "p50 ms", "p99 ms", "CPU ms", "x LNbits"]
    return _table(head, rows)


def _replicas(figures: Figures) -> str:
    rows = [
        [
            row["accounts"],
            f"{row['processes']}",
            _around(row["made_per_second"], 0),
            _around(row["settled_per_second"], 0),
            _around(row["told_after_seconds"], 2),
            _around(row["notifications_each"], 1),
            _around(row["connections"], 0),
        ]
        for row in figures["rows"]
    ]
    head = [
        "",
        "processes",
        "invoices/s",
        "settlements/s",
        "s until all are told of the last",
        "notifications for each",
        "connections",
    ]
    return _table(head, rows)


def _soak(figures: Figures) -> str:
    counts, growth = figures["counts"], figures["per_hour"]
    last = figures["samples"][-1]
    rows = [
        ["minutes", f"{figures['seconds'] / 60:.1f}"],
        ["invoices a second", f"{figures['per_second']:g}"],
        *([name, f"{count:,}"] for name, count in sorted(counts.items())),
        ["faults", f"{sum(figures['faults'].values()):,} of {len(figures['faults'])} kinds"],
        ["sockets opened", f"{figures['sockets_opened']:,}"],
        ["paid, by the ledger", f"{figures['paid']:,}"],
        ["  heard once", f"{figures['heard_once']:,}"],
        ["  lost", f"{figures['lost']:,}"],
        ["  heard twice", f"{figures['doubled']:,}"],
        ["  heard though not paid", f"{figures['invented']:,}"],
        ["tasks left after closing", f"{len(figures['tasks_left'])}"],
        ["memory at the end", f"{last['resident_bytes'] / 2**20:.1f} MiB"],
        ["  slope after the warm-up", f"{growth['resident_bytes'] / 2**20:+.2f} MiB an hour"],
        ["file descriptors, slope", f"{growth['descriptors']:+.2f} an hour"],
        ["tasks, slope", f"{growth['tasks']:+.2f} an hour"],
        ["pending timers, slope", f"{growth['timers']:+.2f} an hour"],
        ["CPU", f"{100 * last['cpu_seconds'] / last['seconds']:.1f} % of a core"],
    ]
    return _table(["soak", ""], rows)


def _told(figures: Figures) -> str:
    rows = [
        [
            row["situation"],
            *(f"{row['seconds'][share]:.2f}" for share in ("0.5", "0.95", "0.99", "1.0")),
            f"{row['asked_each']:.1f}",
        ]
        for row in figures["rows"]
    ]
    return _table(["seconds until told", "p50", "p95", "p99", "most", "questions each"], rows)


_SECTIONS: Final[Mapping[str, Callable[[Figures], str]]] = {
    "execute": _execute,
    "create": _create,
    "latency": _latency,
    "accounts": _accounts,
    "pending": _pending,
    "told": _told,
    "aliasing": _aliasing,
    "imports": _imports,
    "journal": _journal,
    "host": _host,
    "lists": _journal,
    "lnbits": _lnbits,
    "replicas": _replicas,
    "soak": _soak,
}


def _median(figure: Mapping[str, float], unit: float, digits: int) -> str:
    return f"{figure['median'] / unit:,.{digits}f}"


def _around(figure: Mapping[str, float], digits: int, unit: float = 1) -> str:
    """Return the median, with the least and the greatest behind it where there is more than one."""
    if figure["least"] == figure["most"]:
        return _median(figure, unit, digits)
    median, least, most = (f"{figure[name] / unit:,.{digits}f}" for name in ("median", "least", "most"))
    return f"{median} ({least} to {most})"


def _times(row: Figures, name: str) -> str:
    return f"{row[name]:.2f}" if name in row else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up; all but the first are numbers and stand to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first = f"{cells[0]:<{widths[0]}}"
        rest = (f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True))
        return f"| {' | '.join([first, *rest])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])
