"""Converts cleaned spans of any instrumentation, as the collector forwards them, to events."""
