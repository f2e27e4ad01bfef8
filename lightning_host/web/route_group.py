"""What a group is: one way to talk to the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web

    from lightning_host.host import Host
    from lightning_host.web.problems import Problem

__all__ = ["RouteGroup", "group_of"]


@dataclass(frozen=True, slots=True)
class RouteGroup:
    """One way to talk to the host.

    Attributes:
        name: What it is called in logs and metrics.
        prefixes: What its paths begin with; a problem on such a path is told in its words.
        add_routes: Adds its routes to the application.
        tell: Puts a problem into a response that the group's clients understand.
        lifespan: Entered once the host is open and before it listens, left before it closes: the place to register
            handlers of settlements and to run tasks.

    """

    name: str
    prefixes: tuple[str, ...]
    add_routes: Callable[[web.Application], None]
    tell: Callable[[web.Request, Problem], web.StreamResponse]
    lifespan: Callable[[Host], AbstractAsyncContextManager[None]] | None = None


def group_of(route_groups: Iterable[RouteGroup], path: str) -> RouteGroup | None:
    """Return the group that answers on a path: the one with the longest prefix."""
    fitting = [(len(prefix), group) for group in route_groups for prefix in group.prefixes if path.startswith(prefix)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None
