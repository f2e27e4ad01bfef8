"""The ways to the server: one socket and two HTTP routes, and the router that chooses between them."""
