"""How tables that an older host has made become those of this one; both databases take the same statements.

Tables that are new are made before the first step, with their indexes, so a step changes and fills only.

A database may hold `host_totals` and `host_flashcard_totals`, which some hosts of versions 3 and 4 kept, none of them
released. Nothing here makes or reads them. No step drops them: it would stop a replica of such a host, which writes to
them with each settlement, and would lock out every other host of version 4. They may be dropped by hand once none runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STEPS"]

STEPS: Final[Mapping[int, tuple[str, ...]]] = {
    2: ("ALTER TABLE host_webhooks ADD COLUMN automatic_redelivery BOOLEAN NOT NULL DEFAULT TRUE",),
    3: (
        "DROP INDEX host_invoices_by_subject",
        "CREATE INDEX host_invoices_by_subject ON host_invoices (store, purpose, subject, created_at, payment_hash)",
        "DROP INDEX host_invoices_by_time",
        "CREATE INDEX host_invoices_by_time ON host_invoices (store, created_at, payment_hash)",
        "CREATE INDEX host_invoices_by_expiry ON host_invoices (store, expires_at)",
        (
            "CREATE INDEX host_invoices_by_external_id ON host_invoices (store, external_id, created_at, payment_hash)"
            " WHERE external_id IS NOT NULL"
        ),
        "CREATE INDEX host_settlements_by_number ON host_settlements (store, number)",
        "CREATE INDEX host_settlements_by_time ON host_settlements (store, paid_at, number, amount_msat)",
        "CREATE INDEX host_settlements_by_amount ON host_settlements (store, amount_msat)",
        "CREATE INDEX host_settlements_by_reference ON host_settlements (store, external_id, number)",
        "CREATE INDEX host_checkouts_overpaid ON host_checkouts (store) WHERE overpaid_msat > 0",
        "DROP INDEX host_checkouts_by_time",
        "CREATE INDEX host_checkouts_by_time ON host_checkouts (store, created_at, id)",
        "DROP INDEX host_flashcards_by_time",
        "CREATE INDEX host_flashcards_by_time ON host_flashcards (store, created_at, id)",
        "DROP INDEX host_webhook_deliveries_by_webhook",
        "CREATE INDEX host_webhook_deliveries_by_webhook ON host_webhook_deliveries (webhook, created_at, id)",
    ),
    4: (
        (
            "CREATE INDEX IF NOT EXISTS host_flashcard_taps_by_end"
            " ON host_flashcard_taps (store, status, ended_at, payment_hash)"
        ),
    ),
}
"""For each version the statements that lead to it from the one before."""
