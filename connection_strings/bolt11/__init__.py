"""BOLT11 payment requests as a host and a driver both need them: read, with the standard library only.

Who signed one is checked where that matters: by the driver, before it hands one out or pays it.
"""

from __future__ import annotations

__all__: list[str] = []
