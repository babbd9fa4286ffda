"""REST: what an account can read of its own events."""
