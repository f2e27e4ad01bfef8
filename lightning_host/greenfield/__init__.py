"""BTCPay Server's Greenfield Lightning API."""
