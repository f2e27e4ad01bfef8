"""`make` sets up what it needs, and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lightning_host.needs import need_program

ROOT = Path(__file__).parents[1]
OTHER = "#!/bin/sh\necho 3 9\n"
GONE = "#!/no/such/interpreter\n"


@pytest.mark.parametrize(
    ("python", "made"),
    [(None, True), (OTHER, True), (GONE, True), (f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', False)],
    ids=["none", "of another Python", "of one that is gone", "of this Python"],
)
def test_environment_of_another_python_is_made_again(tmp_path: Path, python: str | None, *, made: bool) -> None:
    """An environment whose Python is not the one asked for is made again, with all that was installed into it."""
    environment = tmp_path / "environment"
    if python is not None:
        program = environment / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(python)
        program.chmod(0o755)
        (environment / "ready-to-run").touch()
    command = [need_program("make"), "--dry-run", "run", f"VENV={environment}", f"PYTHON={sys.executable}"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert (f"-m venv --clear {environment}" in told) is made
    assert ("--editable" in told) is made
    assert "flash-driver demo" in told
