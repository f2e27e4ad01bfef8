"""The durable journal: SQLite and PostgreSQL, with the same tables and statements."""
