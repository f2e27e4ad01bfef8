"""Variables of the environment that nothing reads, and that look as if they were meant to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connection_strings.hints import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["misspelt_variables"]

_PREFIX: Final = "FLASH_"
_OTHERS: Final = ("CONNECTION_STRING", "SANDBOX_API_KEY", "SANDBOX_TOKEN")
"""What commands read besides `ProcessSettings`."""


def misspelt_variables(names: Iterable[str]) -> list[str]:
    """Return a sentence for each that is close to one of ours; other programs may have the prefix, too."""
    from flash_driver.settings.process import ProcessSettings  # noqa: PLC0415 - no command's help needs pydantic

    # Compared without the prefix, which all have and which would make them alike.
    known = {name.upper() for name in (*ProcessSettings.model_fields, *_OTHERS)}
    ours = sorted(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX))
    hints = ((name, did_you_mean(name, known)) for name in ours if name not in known)
    return [
        f"nothing reads the environment variable {_PREFIX}{name}{hint.replace('mean ', f'mean {_PREFIX}')}"
        for name, hint in hints
        if hint
    ]
