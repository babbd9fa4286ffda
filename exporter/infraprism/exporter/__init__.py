"""Events in, OTLP out: bounded, retried, counted to the last one."""

from infraprism.exporter.settings import SettingsError
from infraprism.exporter.span_exporter import InfraPrismSpanExporter, live

__all__ = ["InfraPrismSpanExporter", "SettingsError", "live"]
