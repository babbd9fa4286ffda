"""Determines which spans report the same billed call, so that one call becomes one event."""
