"""The backend: OTLP in, one embedded store, REST out. `infraprism.backend.server` runs it."""
