"""Everything that the clients of one account share, and how accounts are shared among clients."""
