"""Satoshi and cents: what the custodian charges, and how to get an invoice over the amount wanted."""
