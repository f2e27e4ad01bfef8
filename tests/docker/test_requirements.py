"""What the image is made of is written down, by hash, and is what the project asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = ("cli", "host", "postgresql", "sandbox", "uvloop")


def lines(name: str) -> list[str]:
    """Return the requirements in a file, each on one line with its hashes."""
    text = (ROOT / name).read_text().replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def versions(name: str) -> set[tuple[str, str]]:
    """Return names and versions in a file."""
    return {
        (canonicalize_name(found["name"]), found["version"])
        for line in lines(name)
        if (found := re.match(r"(?P<name>[A-Za-z0-9._-]+)(\[\w+\])?==(?P<version>[^\s;]+)", line))
    }


@pytest.mark.parametrize("name", ["docker/requirements.txt", "docker/requirements-build.txt"])
def test_everything_has_hashes(name: str) -> None:
    """Each line is a version with hashes and nothing else: no index, no host, no option."""
    for line in lines(name):
        assert re.fullmatch(r"[a-z0-9.-]+==[^ ;]+( ; [^-]+?)?( +--hash=sha256:[0-9a-f]{64})+ *", line), line[:100]
    assert "://" not in (ROOT / name).read_text()


def test_versions_are_those_that_are_tested() -> None:
    """The image has the versions of constraints.txt; run `make requirements` when one has changed."""
    pinned = versions("constraints.txt")
    names = {name for name, _ in pinned}
    for name in ("docker/requirements.txt", "docker/requirements-build.txt"):
        assert {each for each in versions(name) if each[0] in names} <= pinned


def test_image_has_what_the_project_asks_for() -> None:
    """Each dependency, and each of the extras that the image has, stands in the file in a version that will do."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    there = versions("docker/requirements.txt")
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert any(requirement.specifier.contains(version) for found, version in there if found == name), requirement
