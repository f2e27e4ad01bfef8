"""The node behind a backend: what is known of it, its balance, its peers and channels; a custodian has no channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from connection_strings.money import LightMoney

__all__ = [
    "BalanceEstimate",
    "ConnectionResult",
    "LightningChannel",
    "LightningNodeBalance",
    "LightningNodeInformation",
    "OffchainBalance",
    "OnchainBalance",
    "OpenChannelResult",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningNodeInformation:
    """What is known of the node behind the backend; None or zero where a custodian does not tell.

    A `block_height` of 0 means "not known": BTCPay treats a lagging height as a node that is not in sync.
    """

    alias: str | None = None
    color: str | None = None
    version: str | None = None
    block_height: int = 0
    node_uris: Sequence[str] = ()
    peers_count: int | None = None
    active_channels_count: int | None = None
    inactive_channels_count: int | None = None
    pending_channels_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainBalance:
    """Bitcoin on the chain."""

    confirmed: LightMoney | None = None
    unconfirmed: LightMoney | None = None
    reserved: LightMoney | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffchainBalance:
    """Bitcoin in channels; `local` is what can be spent."""

    opening: LightMoney | None = None
    local: LightMoney | None = None
    remote: LightMoney | None = None
    closing: LightMoney | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceEstimate:
    """Where an estimated balance comes from: the backend holds another currency.

    Attributes:
        currency: The currency held, such as USD.
        minor_units: What is held, in hundredths of that currency (cents).
        minor_units_per_sat: The rate used, in cents per satoshi.
        rate_time: When that rate was learned.

    """

    currency: str
    minor_units: Decimal
    minor_units_per_sat: Decimal
    rate_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningNodeBalance:
    """The balance; with `estimate` set, the bitcoin amounts are converted from another currency."""

    onchain: OnchainBalance | None = None
    offchain: OffchainBalance = field(default_factory=OffchainBalance)
    estimate: BalanceEstimate | None = None


class ConnectionResult(Enum):
    """How an attempt to connect to a peer ended."""

    OK = "ok"
    COULD_NOT_CONNECT = "could-not-connect"


class OpenChannelResult(Enum):
    """How an attempt to open a channel ended."""

    OK = "ok"
    PEER_NOT_CONNECTED = "peer-not-connected"
    CANNOT_AFFORD_FUNDING = "cannot-afford-funding"
    ALREADY_EXISTS = "already-exists"
    NEEDS_CONFIRMATIONS = "needs-confirmations"


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningChannel:
    """A channel of the node.

    Attributes:
        remote_node: The public key of the peer, 66 lower-case hex digits.
        public: Whether it is announced to the network (BOLT 7).
        active: Whether it can be used now.
        capacity: What both sides hold together.
        local_balance: What this side holds.
        channel_point: The output that funds it, as `transaction id:index`.

    """

    remote_node: str
    public: bool
    active: bool
    capacity: LightMoney
    local_balance: LightMoney
    channel_point: str
