"""Webhooks: other servers are told of each settlement, signed as BTCPay signs."""
