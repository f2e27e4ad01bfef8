"""What a host and its Lightning drivers agree on: connection strings, the client interface, and its values."""
