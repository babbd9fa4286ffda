"""Starts and stops the parts of the server in order."""

from infraprism.backend.serving.serve import Serving, serve

__all__ = ["Serving", "serve"]
