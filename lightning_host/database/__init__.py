"""What the host remembers, in SQLite or PostgreSQL."""

from __future__ import annotations

from lightning_host.database.database import (
    SCHEMA_VERSION,
    Database,
    add_to_sums,
    from_ms,
    insert_if_new,
    metadata,
    now_ms,
    take_numbers,
    to_ms,
)
from lightning_host.database.errors import DatabaseUnusable, SchemaError, is_away

__all__ = [
    "SCHEMA_VERSION",
    "Database",
    "DatabaseUnusable",
    "SchemaError",
    "add_to_sums",
    "from_ms",
    "insert_if_new",
    "is_away",
    "metadata",
    "now_ms",
    "take_numbers",
    "to_ms",
]
