"""A database of the host with many rows, as years make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

import lightning_host.server.route_groups  # noqa: F401 - makes every table known
from lightning_host.database import now_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["BIG", "COUNT", "STEP_MS", "UNSETTLED", "fill", "padded"]

COUNT: Final = 20_000
STEP_MS: Final = 1_800_000
"""One row in half an hour: the last two days are a small part of the table."""

BIG: Final = frozenset(
    {
        *("host_invoices", "host_settlements", "host_checkouts", "host_checkout_orders", "host_flashcards"),
        *("host_flashcard_top_ups", "host_flashcard_taps", "host_webhook_deliveries", "host_phoenixd_payouts"),
        "host_spends",
    }
)
"""The tables that grow."""

UNSETTLED: Final = 50
"""One invoice in this number is not settled."""


def fill(connection: Connection, count: int = COUNT, step_ms: int = STEP_MS) -> None:
    """Fill every table that grows: most rows are of the shop, of several purposes, and most invoices are settled."""
    first = now_ms() - count * step_ms
    series = f"WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})"  # noqa: S608 - numbers
    key = "substr('0000000000' || n, -10)" if connection.dialect.name == "sqlite" else "lpad(n::text, 10, '0')"
    store = "CASE n % 10 WHEN 0 THEN 'cafe' ELSE 'shop' END"
    purpose = "CASE n % 4 WHEN 0 THEN 'lnurl' WHEN 1 THEN 'checkout' WHEN 2 THEN 'phoenixd' ELSE 'flashcard' END"
    subject = f"CASE n % 4 WHEN 0 THEN 'shop' WHEN 2 THEN '' ELSE {key} END"
    external = f"CASE n % 2 WHEN 0 THEN {key} END"
    card = "CASE n % 10 WHEN 1 THEN '0000000001' ELSE '0000000002' END"
    status = "CASE n % 1000 WHEN 1 THEN 'open' WHEN 2 THEN 'paying' WHEN 3 THEN 'failed' ELSE 'paid' END"
    at = f"{first} + CAST(n AS BIGINT) * {step_ms}"
    rows = {
        "host_invoices (store, payment_hash, purpose, subject, description, comment, external_id, bolt11, amount_msat,"
        " created_at, expires_at)": (
            f"{store}, {key}, {purpose}, {subject}, '', '', {external}, 'lnbc', 1000, {at}, {at}"
        ),
        "host_settlements (store, payment_hash, number, purpose, subject, external_id, amount_msat, paid_at,"
        " recorded_at)": f"{store}, {key}, n, {purpose}, {subject}, {external}, 1000, {at}, {at}",
        "host_checkouts (id, store, amount_msat, description, created_at, expires_at, invoices, renew_after,"
        " received_msat, overpaid_msat)": f"{key}, {store}, 1000, '', {at}, {at} + 900000, 1, 0, 0, 0",
        "host_checkout_orders (store, external_id, checkout)": f"{store}, {key}, {key}",
        "host_flashcards (id, store, address, name, balance_msat, created_at)": (f"{key}, {store}, {key}, '', 0, {at}"),
        "host_flashcard_top_ups (store, payment_hash, card, number, way, comment, amount_msat, paid_at)": (
            f"{store}, {key}, '0000000001', n, 'lnurl', '', 1000, {at}"
        ),
        "host_flashcard_taps (code_digest, store, card, chip, status, expires_at, bolt11, payment_hash, amount_msat,"
        " reserved_msat, charged_msat, reserved_at, sender_until, look_at, ended_at)": (
            f"{key}, {store}, {card}, {key}, {status}, {at}, 'lnbc', {key}, 1000, 1020, 1000, {at}, {at}, {at}, {at}"
        ),
        "host_webhook_deliveries (id, webhook, body, status, attempts, due_at, created_at)": (
            f"{key}, CASE n % 2 WHEN 0 THEN 'one' ELSE 'two' END, '{{}}',"
            f" CASE n % 1000 WHEN 0 THEN 'Pending' ELSE 'Delivered' END, 1, {at}, {at}"
        ),
        "host_phoenixd_payouts (store, payment_hash, bolt11, created_at)": f"{store}, {key}, 'lnbc', {at}",
        "host_spends (name, spent_at)": f"'budget ' || (n % 100), {at}",
    }
    assert {table.partition(" ")[0] for table in rows} == BIG
    for table, columns in rows.items():
        some = f"WHERE n % {UNSETTLED} <> 1" if table.startswith("host_settlements") else ""
        insertion = f"INSERT INTO {table} {series} SELECT {columns} FROM n {some}"  # noqa: S608 - constants of this module
        connection.execute(text(insertion))
    connection.execute(
        text("INSERT INTO host_counters VALUES (:name, :value)"), {"name": "settlements", "value": count}
    )
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))


def padded(number: int) -> str:
    """Return the payment hash, the checkout, the external id and the card of a row."""
    return f"{number:010}"
