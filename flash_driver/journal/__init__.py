"""What the driver remembers: invoices, settlements in their order, payments.

Flash can't look an invoice up by payment hash (flash-server.md 3.10), so the driver has to.
"""
