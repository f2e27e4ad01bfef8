"""The checkout: a page that a shop sends its customer to, and an API that opens one."""
