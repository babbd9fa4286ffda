"""Starts and stops the parts of the server in order."""

from infraprism.backend.serving.startup import Serving, serve

__all__ = ["Serving", "serve"]
