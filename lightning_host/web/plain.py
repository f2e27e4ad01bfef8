"""Problems in plain JSON, for paths that belong to no route group or to one without words of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from lightning_host.web.problems import Problem

__all__ = ["tell_plainly"]


def tell_plainly(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem in words that anybody may read."""
    del request
    answer = {"code": problem.code, "message": problem.public}
    return web.json_response(answer, status=problem.status, headers=problem.headers)
