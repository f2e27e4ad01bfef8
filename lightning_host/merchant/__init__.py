"""The merchant's page: takings, payments, wallet, webhooks and cards of one store, to be read in a browser."""
