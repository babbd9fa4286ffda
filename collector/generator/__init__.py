"""Makes collector-config.yaml: the template, with the lists of statements that the tables amount to."""

from collector.generator.config import config_text

__all__ = ["config_text"]
