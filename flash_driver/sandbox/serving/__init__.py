"""HTTP and WebSocket as Flash serves them, and what executes the operations."""
