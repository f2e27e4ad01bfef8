from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.svg import Bar, Line, bars, lines

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing: str) -> ET.Element:
    """Parse a drawing of ours."""
    return ET.fromstring(drawing)  # noqa: S314 - made here


def test_bars_are_as_long_as_their_values() -> None:
    """Lengths are in proportion, the longest ends where the aim does not lie beyond it, and names are escaped."""
    drawing = parsed(bars("Title", "note", [("group", [Bar("a < b", 10, "ten"), Bar("c", 5, "five", aim=7.5)])]))
    first, second = (float(bar.get("width", "0")) for bar in drawing.iter(f"{SVG}rect"))
    assert first == pytest.approx(2 * second, abs=0.2)
    (aim,) = (line for line in drawing.iter(f"{SVG}line") if line.get("class") == "aim")
    assert float(aim.get("x1", "0")) == pytest.approx(250 + 0.75 * first, abs=0.2)
    assert {"a < b", "ten", "five", "Title", "note"} <= {text.text for text in drawing.iter(f"{SVG}text")}


@pytest.mark.parametrize("log", [True, False])
def test_lines_go_up_where_values_do(log: bool) -> None:  # noqa: FBT001 - a case of the test
    """Points keep their order on both axes, and lie within the sheet."""
    drawing = parsed(lines("Title", "note", [("panel", "x", [Line("y", [(1, 10), (10, 100), (100, 90)])])], log=log))
    (line,) = drawing.iter(f"{SVG}polyline")
    spots = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    assert spots[0][0] < spots[1][0] < spots[2][0]
    assert spots[0][1] > spots[2][1] > spots[1][1]
    _, _, width, height = map(float, drawing.get("viewBox", "").split())
    assert all(0 <= x <= width and 0 <= y <= height for x, y in spots)


def test_names_of_close_lines_do_not_cover_each_other() -> None:
    """Lines that end in the same place have their names one below the other."""
    close = [Line("upper", [(0, 1), (1, 2)]), Line("lower", [(0, 2), (1, 2)])]
    drawing = parsed(lines("Title", "note", [("panel", "x", close)], log=False))
    upper, lower = (float(text.get("y", "0")) for text in drawing.iter(f"{SVG}text") if text.text in ("upper", "lower"))
    assert abs(lower - upper) >= 13


def test_text_suits_light_and_dark_pages() -> None:
    """Text has a colour of its own where the reader prefers dark pages."""
    style = next(parsed(bars("Title", "note", [("group", [Bar("a", 1, "1")])])).iter(f"{SVG}style")).text
    assert style is not None
    assert "prefers-color-scheme: dark" in style
