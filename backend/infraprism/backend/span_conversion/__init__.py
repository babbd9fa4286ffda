"""The other way in: cleaned spans of any instrumentation, as a collector sends them, become events before the store."""
