"""The settlements of each store: recorded once, told to all who wait for them."""
