"""The Lightning driver for Flash: `type=flash;server=...;token=...` becomes a Lightning client."""
