"""BOLT11 payment requests: decoded, and checked before anybody sees them."""
