"""Generates collector-config.yaml from collector/template.yaml and the dialects' tables."""

from collector.generator.config import config_text

__all__ = ["config_text"]
