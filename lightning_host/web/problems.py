"""What went wrong, as a caller may know it, before a route group puts it into its own words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Final

from aiohttp import web

from connection_strings import (
    AmountMismatch,
    InvalidRequest,
    LightningError,
    NotSupported,
    RateLimited,
    RequestRefused,
)
from lightning_host.database import is_away

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Problem", "ProblemError", "problem_of", "tell_plainly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong.

    Attributes:
        status: The HTTP status that says so.
        code: A stable name in lower case with dashes.
        message: One sentence for a person who has a key of the store.
        public: The same for anybody: tells nothing of the wallet behind the store.
        fields: Fields of the request at fault, and why.
        headers: Headers that go with the status.
        permission: The permission that the caller's key lacks.

    """

    status: int
    code: str
    message: str
    public: str
    fields: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] | None = None
    permission: str | None = None


class ProblemError(Exception):
    """Ends the handling of a request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem

    @classmethod
    def make(
        cls,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        permission: str | None = None,
    ) -> ProblemError:
        """Make a problem whose words anybody may read; `field` names what in the request is at fault."""
        fields = () if field is None else ((field, message),)
        return cls(
            Problem(
                status=status,
                code=code,
                message=message,
                public=message,
                fields=fields,
                headers=headers,
                permission=permission,
            )
        )


_HTTP_CODES: Final = {
    400: "bad-request",
    401: "unauthenticated",
    403: "missing-permission",
    404: "not-found",
    405: "method-not-allowed",
    408: "request-timeout",
    413: "too-large",
    415: "unsupported-media-type",
}
_HTTP_WORDS: Final = {
    404: "there is nothing at this address",
    405: "this address does not take this method",
    413: "the body is too large",
}
_TOO_MANY: Final = "more invoices were asked for than it allows"
_UNAVAILABLE: Final = "the wallet of this store can't be reached right now; try again"


def problem_of(error: Exception) -> Problem | None:
    """Tell what an error means to a caller; None for an error that nobody foresaw."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, LightningError):
        return _of_lightning(error)
    if is_away(error):  # a wallet tells of its own trouble by a `LightningError`
        words = "this host can't reach its database right now; try again"
        return Problem(status=503, code="unavailable", message=words, public=words)
    if isinstance(error, web.HTTPException) and error.status >= 400:
        code = _HTTP_CODES.get(error.status, "http-error")
        words = _HTTP_WORDS.get(error.status, error.reason.lower())
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return Problem(status=error.status, code=code, message=words, public=words, headers=headers)
    return None


def _of_lightning(error: LightningError) -> Problem:
    words = str(error)
    if isinstance(error, InvalidRequest):
        fields = ((error.field, error.reason),)
        return Problem(status=422, code="validation-error", message=words, public=words, fields=fields)
    if isinstance(error, NotSupported):
        return Problem(status=400, code="not-supported", message=words, public="this store's wallet can't do that")
    if isinstance(error, RateLimited):
        wait = str(ceil(error.retry_after.total_seconds()))
        public = f"too many invoices right now; try again in {wait} seconds"
        if error.blocked:
            until = datetime.now(UTC) + error.retry_after
            public = f"the wallet's server has blocked creating until {until:%H:%M:%S} UTC, because {_TOO_MANY}"
        return Problem(status=429, code="rate-limited", message=words, public=public, headers={"Retry-After": wait})
    if isinstance(error, AmountMismatch):
        public = "the wallet of this store can't make an invoice over exactly this amount; try another"
        return Problem(status=400, code="amount-not-available", message=words, public=public)
    if isinstance(error, RequestRefused):
        public = "the wallet of this store refused; try another amount"
        return Problem(status=400, code="generic-error", message=words, public=public)
    # The wallet, its credential, its journal: nothing about the request, which may be repeated.
    return Problem(status=503, code="lightning-node-unavailable", message=words, public=_UNAVAILABLE)


def tell_plainly(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem in words that anybody may read."""
    del request
    answer = {"code": problem.code, "message": problem.public}
    return web.json_response(answer, status=problem.status, headers=problem.headers)
