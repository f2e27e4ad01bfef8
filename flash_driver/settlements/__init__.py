"""From a payment to the listener: watching unpaid invoices, and telling each settlement once."""
