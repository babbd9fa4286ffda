"""OTLP receiver: many requests become one SQL statement, and each request gets its own response."""
