"""The short form of the latencies: how often the server was asked, not how long that took."""

from __future__ import annotations

from tests.benchmarks import latency
from tests.benchmarks.report import render


def test_round_trips_are_as_few_as_promised() -> None:
    """Cold: one question and one creation, whether a journal knows the server or not; warm: one creation.

    A settlement is one question at the most.
    """
    figures = latency.measure(rounds=1, one_way_seconds=0.002, many=5, sandboxed=False)
    seen = {row["what"]: row["seen"] for row in figures["rows"]}
    assert seen["cold, first"] == {"connections": 1, "me": 1, "lnUsdInvoiceCreate": 1}
    for known in ("cold", "next process"):
        assert seen[known].pop("connections", 0) <= 1
        assert seen[known].pop("posts", 0) in {0, 2}  # by HTTP where the handshake before took long
        assert seen[known] == {"me": 1, "lnUsdInvoiceCreate": 1}
    assert seen["warm"] == {"lnUsdInvoiceCreate": 1}
    assert seen["many"] == {"lnUsdInvoiceCreate": 5}
    assert seen["settle"] == {"lnInvoicePaymentStatus": 1}
    assert seen["settle, believed"] in ({}, {"lnInvoicePaymentStatus": 1})  # asked behind the news
    assert "5 invoices by `create_invoices`" in render("latency", figures)
