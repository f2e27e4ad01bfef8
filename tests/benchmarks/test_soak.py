"""The short form of the soak: nothing is lost under faults, and the instrument works."""

from __future__ import annotations

import pytest

from tests.benchmarks import soak
from tests.benchmarks.report import render


@pytest.mark.timeout(400)  # it waits until the last invoice has been heard, whatever went wrong before
def test_each_paid_invoice_is_heard_once() -> None:
    """Under load and faults each invoice that the ledger calls paid is heard exactly once, and no task is left."""
    figures = soak.measure(soak.SHORT, [name for name in soak.FAULTS if name not in {"silent", "network: half-open"}])
    assert figures["paid"] > 0
    assert figures["heard_once"] == figures["paid"]
    assert figures["lost"] == figures["doubled"] == figures["invented"] == 0
    assert figures["tasks_left"] == []
    assert sum(figures["faults"].values()) >= 3
    assert figures["per_hour"].keys() == set(soak.HELD)
    assert len([sample for sample in figures["samples"] if sample["seconds"] > soak.SHORT.warm_up]) > 5
    assert "heard once" in render("soak", figures)
