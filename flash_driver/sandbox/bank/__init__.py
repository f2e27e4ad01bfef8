"""The sandbox's money: accounts, the custodian, invoices, payments and the ledger."""
