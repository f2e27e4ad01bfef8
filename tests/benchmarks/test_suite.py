from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import suite

if TYPE_CHECKING:
    from pathlib import Path

PAGE = """# Page
<!-- begin imports -->
old
<!-- end imports -->
between
<!-- begin soak -->
kept
<!-- end soak -->
"""


def test_figures_are_written_where_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One benchmark renews its own part of the JSON file and of the page, and leaves all else as it is."""
    (tmp_path / "performance.md").write_text(PAGE)
    (tmp_path / "performance.json").write_text(json.dumps({"other": {"kept": True}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(suite.QUICK, "imports", {"rounds": 1, "names": ("bare Python",)})
        assert suite.main(["--only", "imports", "--quick", "--docs", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "performance.json").read_text())
    assert figures["other"] == {"kept": True}
    assert figures["imports"]["rows"][0]["what"] == "bare Python"
    assert {"date", "python", "cpu", "packages"} <= figures["imports"]["taken"].keys()
    page = (tmp_path / "performance.md").read_text()
    assert "old" not in page
    assert "| bare Python |" in page
    assert "between" in page
    assert "kept" in page
    assert "| bare Python |" in capsys.readouterr().out


def test_every_benchmark_has_a_quick_form_and_a_table() -> None:
    """What can be measured can be measured quickly."""
    assert suite.QUICK.keys() == suite.BENCHMARKS.keys()


def test_drawings_follow_the_figures(tmp_path: Path) -> None:
    """Whatever has a drawing is drawn from the JSON file alone."""
    figure = {"median": 2.0, "least": 1.0, "most": 3.0}
    rows = [{"what": "warm", "server": "responder", "round_trips": figure, "seen": {}}]
    taken = {"date": "2026-01-01", "python": "3.11", "cpus": 2, "cpu": "x", "load": "0"}
    suite.write(
        tmp_path,
        {"latency": {"rounds": 1, "round_trip_seconds": 0.1, "many": 5, "rows": rows, "taken": taken}},
    )
    assert ">invoice<" in (tmp_path / "performance-latency.svg").read_text()
    assert not (tmp_path / "performance-soak.svg").exists()
