"""OTLP in: bytes of many requests become one statement, and each request gets its own answer."""
