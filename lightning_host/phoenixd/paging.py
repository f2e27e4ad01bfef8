"""Which part of a list is asked for: `from`, `to`, `limit`, `offset` and `all`, as phoenixd has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lightning_host.web.bodies import Fields

__all__ = ["PAGE_FIELDS", "Page", "read_page"]

PAGE_FIELDS: Final = ("all", "from", "to", "limit", "offset")
_MOST: Final = 500
_USUAL: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a list.

    Attributes:
        everything: Whether what is not paid is listed, too.
        since: From when on, in ms since 1970: when it was paid, or with `everything` when it was made.
        until: Until when, in ms, the moment itself included; None for no end.
        offset: How many of those are left out first.
        limit: How many are told at most.

    """

    everything: bool
    since: int
    until: int | None
    offset: int
    limit: int

    def includes(self, time: int) -> bool:
        """Whether a time, in ms, lies in it."""
        return self.since <= time and (self.until is None or time <= self.until)


def read_page(query: Fields) -> Page:
    """Read which part is asked for.

    Raises:
        ProblemError: A parameter makes no sense (422).

    """
    return Page(
        everything=query.flag("all"),
        since=query.whole("from", default=0),
        until=query.whole("to") if "to" in query else None,
        offset=query.whole("offset", default=0),
        limit=query.whole("limit", default=_USUAL, least=1, most=_MOST),
    )
