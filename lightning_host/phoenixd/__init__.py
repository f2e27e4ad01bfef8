"""phoenixd's HTTP API and its WebSocket."""
