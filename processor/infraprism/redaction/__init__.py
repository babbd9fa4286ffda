"""A gate for the rest of the pipeline: spans about generative AI leave without content, all others as they are."""

from infraprism.redaction.exporter import ContentFreeSpanExporter

__all__ = ["ContentFreeSpanExporter"]
