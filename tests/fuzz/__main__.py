"""Fuzz one target with atheris: `python -m tests.fuzz TARGET [options of libFuzzer]`; tests/fuzz/requirements.txt."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]  # it has no types, and is not installed where types are checked

with atheris.instrument_imports(include=["connection_strings", "flash_driver", "lightning_host"]):
    from tests.fuzz.targets import CORPUS, TARGETS


def main() -> None:
    """Run until the limits that are given, or until a promise is broken."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options, str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
