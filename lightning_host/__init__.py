"""A BTCPay-like Lightning host: it knows the contract in `connection_strings` and no driver by name."""
