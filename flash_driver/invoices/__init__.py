"""Creating invoices over the right amount, and looking them up by payment hash."""
