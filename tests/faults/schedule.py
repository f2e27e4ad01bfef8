"""A schedule of one world: what happens when, drawn from a seed and nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["LONG_SECONDS", "Schedule", "Step", "draw"]

LONG_SECONDS: Final = 3600.0
"""Longer than any world lasts."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens.

    Attributes:
        after: Seconds since the step before.
        act: What: a deed of the host, a fault of the proxy (`proxy.`) or one of the sandbox (`server.`).
        details: With what.

    """

    after: float
    act: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A world and what happens in it.

    Attributes:
        sandbox: Options of the server.
        send_seconds: How long the host waits for the outcome of a payment.
        answers_get_lost: Whether an answer may fail to arrive; where not, nobody stops waiting for one either.
        transports: Those of each client; clients that differ have sockets and watchers of their own on one journal.
            `key` is an API key without the scope that tells amounts, which polls.
        elsewhere: Whether another process shares the journal, makes invoices and never listens.
        in_file: Whether the journal is a file, which outlives its clients: they may be closed while they work, and the
            file may be locked.
        all_events_lost: Whether no event of a settlement ever comes, while every socket is well.

    """

    seed: int
    sandbox: dict[str, Any]
    send_seconds: float
    answers_get_lost: bool
    transports: tuple[str, ...]
    elsewhere: bool
    in_file: bool
    all_events_lost: bool
    steps: tuple[Step, ...]


_KINDS_OF_SERVER: Final = (
    {"ws_mutations": "accept", "http_bearer": "accept"},
    {"ws_mutations": "accept", "http_bearer": "reject"},
    {"ws_mutations": "decline", "http_bearer": "accept"},
    {"ws_mutations": "decline", "http_bearer": "reject"},
    {"ws_mutations": "close", "http_bearer": "accept"},
    {"ws_mutations": "close", "http_bearer": "reject"},
)
_EVERYTHING: Final = "websocket,http,graphql"
_WAYS: Final = (_EVERYTHING, _EVERYTHING, _EVERYTHING, "websocket,http", "http,graphql", "graphql,websocket", "key")
_DEEDS: Final = (
    *["create"] * 7,
    *["settle"] * 7,
    *["pay"] * 5,
    "create_cancelled",
    "create_many",
    *["create_elsewhere"] * 3,
    *["create_amountless"] * 2,
    "settle_all",
    "settle_late",
    *["settle_expired"] * 3,
    "pay_twice",
    "pay_cancelled",
    "pay_with_fee_limit",
    "pay_amountless",
    "look_up",
    "listen_anew",
    "new_client",
    "lie",
    "stranger",
    "resolve",
    *["close_client"] * 2,
    *["lock_journal"] * 2,
)
_PROXY_FAULTS: Final = (
    "cut",
    "reset",
    "freeze",
    "delay",
    "throttle",
    "truncate",
    "refuse",
    "ignore",
    "reorder",
    "heal",
)
_MOMENTS: Final = ("before_execute", "after_execute")
_OPERATIONS: Final = (None, None, "*", "lnInvoicePaymentStatus", "lnInvoicePaymentSend", "myUpdates", "me")


def draw(seed: int) -> Schedule:
    """Draw the schedule of a seed."""
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    sandbox: dict[str, Any] = {**dice.choice(_KINDS_OF_SERVER), "router": dice.random() < 0.3}
    sandbox["invoice_expiry_seconds"] = dice.choice((60, 60, 60, 2))
    sandbox["price_tick_seconds"] = dice.choice((0.1, 30.0))
    sandbox["lock_wait_seconds"] = 0.2
    pays_twice = dice.random() < 0.3
    if pays_twice:
        # The worst custodian: it pays the same BOLT11 as often as it is told to.
        sandbox["repeated_send"] = "pay"
    # With him nobody can tell a payment that went out, ended in an error *and* whose answer was lost from one that
    # never arrived (see flash_driver/payments/sending.py), so only one of the two misfortunes happens in one world.
    answers_get_lost = not pays_twice or dice.random() < 0.6
    money_goes_in_errors = not pays_twice or not answers_get_lost
    ways = _ways(dice, sandbox)
    steps: list[Step] = []
    for _ in range(dice.randint(6, 16)):
        after = dice.choice((0.0, 0.0, 0.01, 0.03, 0.1))
        draw_of = dice.random()
        if draw_of < 0.5:
            deed = dice.choice(_DEEDS)
            if deed == "close_client" and not answers_get_lost:
                deed = "create"  # who closes does not wait for an answer
            steps.append(Step(after, deed, {"client": dice.randrange(len(ways)), "pick": dice.random()}))
        elif draw_of < 0.65 and answers_get_lost:
            steps.append(Step(after, f"proxy.{dice.choice(_PROXY_FAULTS)}", {"size": dice.random()}))
        elif draw_of < 0.75:
            steps.append(Step(after, "server.payment", _payment_fault(dice, money_goes_in_errors, answers_get_lost)))
        elif answers_get_lost:
            kind, details = _server_fault(dice)
            # No server declines on its socket now and then and refuses the token over HTTP: it would do nothing at all.
            if kind != "server.decline" or sandbox["http_bearer"] == "accept":
                steps.append(Step(after, kind, details))
    # An answer that comes too late is lost as well, as on a machine that is busy with other things.
    send_seconds = dice.choice((1.0, 1.0, 3.0)) if answers_get_lost else LONG_SECONDS
    if not answers_get_lost:
        sandbox["ping_seconds"] = LONG_SECONDS
    elsewhere, all_events_lost = dice.random() < 0.15, dice.random() < 0.15
    in_file = elsewhere or dice.random() < 0.3
    return Schedule(
        seed, sandbox, send_seconds, answers_get_lost, ways, elsewhere, in_file, all_events_lost, steps=tuple(steps)
    )


def _ways(dice: random.Random, sandbox: dict[str, Any]) -> tuple[str, ...]:
    if sandbox["http_bearer"] == "reject":
        # Where the socket executes nothing either, receiving in public is all there is.
        ways = _EVERYTHING if sandbox["ws_mutations"] == "accept" else f"{_EVERYTHING},public"
        return (ways,) * dice.choice((1, 2))
    return (_EVERYTHING, *dice.sample(_WAYS, dice.choice((0, 0, 1, 2))))


def _payment_fault(dice: random.Random, money_goes_in_errors: bool, answers_get_lost: bool) -> dict[str, Any]:  # noqa: FBT001 - private, one caller
    outcome = dice.choice(("SUCCESS", "FAILURE", "PENDING", "ERROR", "ERROR", "INSUFFICIENT_BALANCE"))
    executed = outcome == "ERROR" and money_goes_in_errors and dice.random() < 0.6
    return {
        "outcome": outcome,
        "executed": executed,
        "seconds": dice.choice((0, 0, 0.3, 0.8)) if answers_get_lost else 0,
    }


def _server_fault(dice: random.Random) -> tuple[str, dict[str, Any]]:  # noqa: C901 - a table of kinds
    kind = dice.choice(
        (
            *("close", "reset", "silent", "delay", "garbage", "truncate", "http_status", "error", "decline"),
            *("refuse_handshake", "no_ack", "drop_settlement", "drop_settlement", "drop_settlement", "wrong_invoice"),
        )
    )
    details: dict[str, Any] = {"count": dice.choice((1, 1, 2, 4))}
    if kind in {"close", "reset", "silent", "garbage"} and dice.random() < 0.4:
        return f"server.{kind}", {"when": "now"}
    if kind in {"close", "reset", "silent", "delay", "garbage", "truncate", "http_status"}:
        details |= {"when": dice.choice(_MOMENTS), "operation": dice.choice(_OPERATIONS)}
    if kind in {"decline", "error"}:
        details["operation"] = dice.choice(_OPERATIONS)
    match kind:
        case "close":
            details["code"] = dice.choice((1000, 1001, 1011, 1012, 4500))
        case "delay":
            details["seconds"] = dice.choice((0.05, 0.4, 0.9))
        case "http_status":
            # What a gateway refuses has not been carried out; only a broken one answers afterwards.
            before = details["when"] == "before_execute"
            details["status"] = dice.choice((401, 403, 500, 503) if before else (500, 502, 503, 504))
            if dice.random() < 0.2:
                details |= {"status": 429, "when": "before_execute", "operation": "lnInvoicePaymentStatus"}
        case "error":
            details["code"] = dice.choice((None, "IBEX_ERROR", "UNKNOWN_CLIENT_ERROR", "DB_ERROR"))
            details["channel"] = dice.choice(("payload", "top"))
            if dice.random() < 0.2:
                details |= {"code": "TOO_MANY_REQUESTS", "operation": "lnInvoicePaymentStatus"}
        case "refuse_handshake":
            details["status"] = dice.choice((401, 500, 503))
        case "wrong_invoice":
            details["what"] = dice.choice(("network", "amount", "payment_hash", "description_hash"))
    return f"server.{kind}", {key: value for key, value in details.items() if value is not None}
