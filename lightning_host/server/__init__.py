"""The application put together, and served."""
