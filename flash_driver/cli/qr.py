"""A BOLT11 as a QR code in the terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flash_driver.cli.output import Output

__all__ = ["show_qr"]

_BORDER = 2


def show_qr(output: Output, bolt11: str) -> None:
    """Draw a payment request so that a phone can scan it; nothing where the encoding has no block characters.

    Upper case, because QR codes hold it in fewer modules (BOLT 11). Light modules are drawn, so that it scans on the
    dark ground that most terminals have; where there are colours they are set, and it scans on any.
    """
    if not output.console.encoding.startswith("utf"):
        return
    import segno  # noqa: PLC0415 - needed where a code is drawn only

    drawn = io.StringIO()
    segno.make_qr(f"lightning:{bolt11}".upper(), error="l").terminal(out=drawn, border=_BORDER, compact=True)
    for line in drawn.getvalue().splitlines():
        output.text(line, style="bright_white on black")
