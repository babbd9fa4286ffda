"""Name and version of the distribution, for user agents and instrumentation scopes."""

from __future__ import annotations

from functools import cache
from typing import Final

DISTRIBUTION: Final = "infraprism-opentelemetry"


@cache
def version() -> str:
    """The installed version; empty if the code runs from a source tree that is not installed."""
    from importlib import metadata  # noqa: PLC0415 - not by an import of ours: to find it, files are read

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""
