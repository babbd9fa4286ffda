"""The REST API: read access of an account to its own events."""
