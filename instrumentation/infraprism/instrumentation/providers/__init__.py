"""The supported client packages, one table each."""

from __future__ import annotations

from typing import Final

from infraprism.instrumentation.api_client import ClientPackage
from infraprism.instrumentation.providers.anthropic import ANTHROPIC
from infraprism.instrumentation.providers.openai import OPENAI

PACKAGES: Final[tuple[ClientPackage, ...]] = (OPENAI, ANTHROPIC)
NOT_OBSERVED: Final = {package.name: package.not_observed for package in PACKAGES}
"""The billed requests that have no event, by package."""
