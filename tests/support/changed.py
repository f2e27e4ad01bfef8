"""Names the tests of what was changed since the last commit: `python -m tests.support.changed [COMMIT]`.

The test tree mirrors the source tree, so the tests of a module are those of its folder. Nothing changed, or only text,
leaves the short tests that look at the whole tree.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["mirrored_tests"]

_ROOT: Final = Path(__file__).parents[2]
_ALWAYS: Final = ("tests/test_architecture.py", "tests/test_readme.py")


def mirrored_tests(changed: Iterable[str], root: Path = _ROOT) -> list[str]:
    """Return the tests to run for changed files, as paths from the root."""
    found = set(_ALWAYS)
    for name in changed:
        path = Path(name)
        if path.suffix != ".py":
            continue
        if path.parts[0] == "tests":
            found |= {name} if path.name.startswith("test_") else {str(path.parent)} - {"tests", "tests/support"}
            continue
        mirrored = Path("tests", path.parent)
        test = mirrored / f"test_{path.name}"
        found.add(str(test if (root / test).exists() else mirrored))
    return sorted(name for name in found if (root / name).exists())


def _changed(since: str) -> list[str]:
    listed = subprocess.run(
        ["git", "diff", "--name-only", since], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    new = ["git", "ls-files", "--others", "--exclude-standard"]
    untracked = subprocess.run(new, cwd=_ROOT, capture_output=True, text=True, check=True)
    return [*listed.stdout.split(), *untracked.stdout.split()]


if __name__ == "__main__":
    print(*mirrored_tests(_changed(*(sys.argv[1:] or ["HEAD"]))))  # noqa: T201 - the program's output
