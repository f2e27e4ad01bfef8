"""Real BOLT11 invoices, signed by a key of the sandbox's own, with preimages that open their hashes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import bolt11
from bolt11.models.features import Feature, Features, FeatureState
from bolt11.models.tags import Tag, TagChar, Tags

__all__ = ["MAX_MSAT", "Mint", "MintedInvoice", "Network", "NotAnInvoiceError", "ReadInvoice", "read_invoice"]

Network: TypeAlias = Literal["bcrt", "bc"]

MAX_MSAT: Final = 500 * 100_000_000 * 1000
"""500 BTC: the custodian takes no more; the bolt11 package misspells whole thousands of bitcoins."""


class NotAnInvoiceError(ValueError):
    """A text is not a BOLT11 invoice."""


@dataclass(frozen=True, slots=True)
class ReadInvoice:
    """What a BOLT11 says to someone who didn't make it."""

    payment_request: str
    payment_hash: str
    network: str
    msat: int | None
    expires_at: datetime


@lru_cache(maxsize=4096)
def read_invoice(payment_request: str) -> ReadInvoice:
    """Decode a BOLT11; the last ones are kept, because each question about an invoice brings it along."""
    try:
        decoded = bolt11.decode(payment_request)
        return ReadInvoice(
            payment_request=payment_request,
            payment_hash=decoded.payment_hash,
            network=decoded.currency,
            msat=int(decoded.amount_msat) if decoded.amount_msat else None,
            expires_at=datetime.fromtimestamp(decoded.expiry_time, tz=UTC),
        )
    except Exception as error:  # the package raises whatever its parts raise
        raise NotAnInvoiceError("Invalid payment request") from error


@dataclass(frozen=True, slots=True)
class MintedInvoice:
    """A BOLT11 together with what only its maker knows."""

    payment_request: str
    payment_hash: str
    payment_secret: str
    preimage: str
    msat: int | None
    created_at: datetime
    expires_at: datetime


class Mint:
    """Makes and signs invoices in the name of one node."""

    def __init__(self) -> None:
        self._private_key = secrets.token_bytes(32).hex()

    def mint(
        self,
        *,
        msat: int | None,
        description: str,
        now: datetime,
        expiry: timedelta,
        description_hash: str | None = None,
        network: Network = "bcrt",
        preimage: str | None = None,
    ) -> MintedInvoice:
        """Make an invoice; a description hash takes the place of the description.

        Args:
            msat: The amount, or None for an invoice whose payer chooses it.
            description: What the payer reads.
            now: When it is made.
            expiry: How long it can be paid.
            description_hash: SHA-256 of a longer description, in hex.
            network: Prefix of the network it is for.
            preimage: What it pays for, in hex; by default a new one.

        """
        preimage = preimage or secrets.token_hex(32)
        payment_secret = secrets.token_hex(32)
        payment_hash = sha256(bytes.fromhex(preimage)).hexdigest()
        created_at = now.replace(microsecond=0)
        tags = Tags(
            [
                Tag(TagChar.payment_hash, payment_hash),
                Tag(TagChar.payment_secret, payment_secret),
                Tag(TagChar.description_hash, description_hash)
                if description_hash
                else Tag(TagChar.description, description),
                Tag(TagChar.expire_time, int(expiry.total_seconds())),
                Tag(TagChar.min_final_cltv_expiry, 18),
                Tag(
                    TagChar.features,
                    Features.from_feature_list(
                        {
                            Feature.var_onion_optin: FeatureState.required,
                            Feature.payment_secret: FeatureState.required,
                            Feature.basic_mpp: FeatureState.supported,
                        }
                    ),
                ),
            ]
        )
        invoice = bolt11.Bolt11(
            currency=network,
            date=int(created_at.timestamp()),
            tags=tags,
            amount_msat=None if msat is None else bolt11.MilliSatoshi(msat),
        )
        return MintedInvoice(
            payment_request=bolt11.encode(invoice, self._private_key),
            payment_hash=payment_hash,
            payment_secret=payment_secret,
            preimage=preimage,
            msat=msat,
            created_at=created_at,
            expires_at=created_at + expiry,
        )
