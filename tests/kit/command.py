"""Runs the `infraprism` command in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

_PREFIXES = ("INFRAPRISM_", "OTEL_", "OPENAI_", "ANTHROPIC_", "AZURE_OPENAI_", "SUPPORT_")


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without variables of InfraPrism, OpenTelemetry and providers, plus `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}
    return kept | {"NO_PROXY": "127.0.0.1,localhost"} | variables


def infraprism(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its result."""
    return subprocess.run(
        [sys.executable, "-m", "infraprism.cli", *arguments],
        env=clean_environment(**(environment or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
