"""How the wallet of a store stands, fact by fact, and what to do about what is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings import WatchHealth
from lightning_host.monitoring.backends import backends, unknown_payments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connection_strings import BackendHealth
    from lightning_host.host import Host
    from lightning_host.monitoring.backends import UnknownPayments
    from lightning_host.stores import Store

__all__ = ["Fact", "alarms_of", "facts_of"]

_RECENT: Final = timedelta(minutes=2)
_AGAIN: Final = "The host tries again by itself. Payments are not lost: they are recorded once they are heard of."
_LOG_IN: Final = (
    "Log in to the wallet again and put its new token into the store's connection string. Where that stands in a file "
    "the host reads it by itself, else it has to be started again."
)
_CHECK: Final = "If this lasts for more than a few minutes, run the doctor command of the wallet's driver."


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to know about a wallet.

    Attributes:
        name: What it is about.
        words: How it stands.
        advice: What to do about it; empty where there is nothing to do.
        time: A time that belongs to the words, and is written behind them.

    """

    name: str
    words: str
    advice: str = ""
    time: datetime | None = None

    @property
    def good(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice


def alarms_of(host: Host, store: Store) -> list[Fact]:
    """Return what is wrong with the wallet, as far as it is known without asking anybody."""
    health = backends((store,)).get(store.id)
    # A token that is refused is why payments are not heard of: one of the two is enough.
    first = _session(host, store) if store.id in host.settlements.refused else _heard(host, store)
    known = (first, _backend(health), _block(host, store))
    return [fact for fact in known if fact is not None and not fact.good]


async def facts_of(host: Host, store: Store) -> list[Fact]:
    """Return how the wallet stands.

    Raises:
        SQLAlchemyError: The database can't tell.

    """
    made = len(await host.invoices.made_since(store.id, datetime.now(UTC) - _RECENT))
    unknown = (await unknown_payments((store,))).get(store.id)
    return list(_facts(host, store, made, unknown))


def _facts(host: Host, store: Store, made: int, unknown: UnknownPayments | None) -> Iterator[Fact]:
    health = backends((store,)).get(store.id)
    yield _heard(host, store)
    yield _session(host, store)
    if (backend := _backend(health)) is not None:
        yield backend
    yield _block(host, store) or Fact("Invoices", f"{_number(made, 'invoice')} made in the last two minutes")
    if isinstance(health, WatchHealth):
        yield Fact("Watched", f"{_number(health.pending, 'invoice')} not paid yet, or expired a moment ago")
        yield Fact("Connection", "Open: payments are told at once" if health.connected else "None: the wallet is asked")
    yield _unknown(unknown)


def _heard(host: Host, store: Store) -> Fact:
    since, why = host.settlements.heard_since.get(store.id), host.settlements.deaf.get(store.id)
    if why is None:
        return Fact("Payments", "Heard of without a break since", time=since)
    return Fact("Payments", f"Not heard of: {why}", f"{_AGAIN} {_CHECK}")


def _session(host: Host, store: Store) -> Fact:
    if store.id in host.settlements.refused:
        return Fact("Session", "The wallet refuses the store's token", _LOG_IN)
    return Fact("Session", "The wallet has not refused the store's token")


def _backend(health: BackendHealth | None) -> Fact | None:
    if health is None:
        return None
    if health.outage is not None:
        return Fact("Wallet server", health.outage, f"Nothing can be sold until it answers. {_AGAIN} {_CHECK}")
    if health.last_answer_at is None:
        return Fact("Wallet server", "Not asked anything yet")
    return Fact("Wallet server", "Answered last at", time=health.last_answer_at)


def _block(host: Host, store: Store) -> Fact | None:
    words = host.invoices.blocked.get(store.id)
    if words is None:
        return None
    return Fact(
        "Invoices", words, "No invoice can be made until then. CHECKOUT_CODES=lnurl spares open pages invoices."
    )


def _unknown(found: UnknownPayments | None) -> Fact:
    if found is None:
        return Fact("Sent payments", "The wallet can't say now how its payments ended", _CHECK)
    if not found.count:
        return Fact("Sent payments", "None of which it is unknown how it ended")
    return Fact(
        "Sent payments",
        f"{_number(found.count, 'payment')} of which nobody knows how it ended, the oldest sent at",
        "The money may have left: do not pay again. Most become known by themselves; after a day the operator has to "
        "look into the wallet and settle them by hand.",
        time=found.since,
    )


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
