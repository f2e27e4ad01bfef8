"""Peers and channels of a node, for drivers of nodes; a custodian has neither."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connection_strings.money import LightMoney

__all__ = ["ConnectionResult", "LightningChannel", "OpenChannelResult"]


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
