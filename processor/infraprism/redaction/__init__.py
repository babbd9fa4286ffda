"""Removes the content of generative AI from the spans that other exporters of the application send."""

from infraprism.redaction.exporter import ContentFreeSpanExporter

__all__ = ["ContentFreeSpanExporter"]
