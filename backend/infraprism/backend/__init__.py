"""The backend: an OTLP receiver, an embedded event store and a REST API. Run it with `infraprism.backend.server`."""
