"""Sends events as OTLP: a bounded queue, retries with backoff, and the outcome of every event counted."""

from infraprism.exporter.settings import SettingsError
from infraprism.exporter.span_exporter import InfraPrismSpanExporter, live

__all__ = ["InfraPrismSpanExporter", "SettingsError", "live"]
