"""What a server showed to one credential, kept for the next process: its wallets, and which way carries requests.

It is a guess about the present. Whatever depends on it is confirmed by the server before anybody sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common import exact_json
from flash_driver.common.masking import mask_tokens
from flash_driver.flash_api.replies import AccountReply, Wallet

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Learned", "LearnedWay", "Standing", "read_learned", "write_learned"]

_BELIEVED: Final = timedelta(days=1)
"""How old anything may be that is believed."""
_LONGEST: Final = 10_000
"""An account whose wallets do not fit into this number of characters is not remembered."""


class Standing(StrEnum):
    """What a way to the server was last seen to do with a request.

    Attributes:
        WORKS: It carried one out.
        DECLINES: The server carries none out there, and says so.
        FAILS: It refused the token, or did not get through.

    """

    WORKS = "works"
    DECLINES = "declines"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class LearnedWay:
    """What a way to the server did, and when that was seen."""

    standing: Standing
    at: datetime


@dataclass(frozen=True, slots=True)
class Learned:
    """What one credential was shown.

    Attributes:
        account: The wallets and the network; no price, and no id where it was read from the journal.
        at: When the server last said so.
        ways: What is known of the ways, by the transport's name.
        slow_at: When the socket's handshake was seen to take long; None where it did not.

    """

    account: AccountReply
    at: datetime
    ways: Mapping[str, LearnedWay] = field(default_factory=dict)
    slow_at: datetime | None = None

    def at_present(self, now: datetime) -> Learned | None:
        """Return what of it may still be believed; None where the account may not."""
        if not _is_young(self.at, now):
            return None
        ways = {name: way for name, way in self.ways.items() if _is_young(way.at, now)}
        slow_at = self.slow_at if self.slow_at is not None and _is_young(self.slow_at, now) else None
        return replace(self, ways=ways, slow_at=slow_at)

    def says_the_same_as(self, other: Learned) -> bool:
        """Whether nothing differs but the times."""
        mine, others = self.account, other.account
        return (
            (mine.default_wallet_id, mine.wallets, mine.network, self.slow_at is None)
            == (others.default_wallet_id, others.wallets, others.network, other.slow_at is None)
        ) and {name: way.standing for name, way in self.ways.items()} == {
            name: way.standing for name, way in other.ways.items()
        }


def write_learned(learned: Learned) -> str | None:
    """Return what the journal keeps; None where a server repeats the token in it, or says too much."""
    account = learned.account
    text = exact_json.encode(
        {
            "default": account.default_wallet_id,
            "wallets": [[wallet.id, wallet.currency, wallet.is_external] for wallet in account.wallets],
            "network": account.network,
            "at": learned.at.isoformat(),
            "slow": None if learned.slow_at is None else learned.slow_at.isoformat(),
            "ways": {name: [way.standing.value, way.at.isoformat()] for name, way in learned.ways.items()},
        }
    )
    return text if len(text) <= _LONGEST and mask_tokens(text) == text else None


def read_learned(text: str | None) -> Learned | None:
    """Read what the journal keeps; None where there is nothing that can be read, which costs a question only."""
    if text is None:
        return None
    try:
        kept = exact_json.decode(text)
        wallets = tuple(Wallet(str(each[0]), str(each[1]), each[2] is True) for each in kept["wallets"])
        network = kept["network"] if isinstance(kept["network"], str) else None
        account = AccountReply("", str(kept["default"]), wallets, network, price=None)
        ways = {name: LearnedWay(Standing(way[0]), _moment(way[1])) for name, way in kept["ways"].items()}
        slow_at = None if kept["slow"] is None else _moment(kept["slow"])
        return Learned(account, _moment(kept["at"]), ways, slow_at)
    except (exact_json.MalformedJSON, ValueError, TypeError, LookupError, AttributeError):
        return None


def _moment(text: Any) -> datetime:
    """Read a time with its zone.

    Raises:
        ValueError: It is none.
        TypeError: It is no text.

    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


def _is_young(moment: datetime, now: datetime) -> bool:
    """Whether something is of the last day; a time to come means that a clock was set back."""
    return timedelta(0) <= now - moment <= _BELIEVED
