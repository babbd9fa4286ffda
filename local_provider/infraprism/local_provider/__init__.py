"""OpenAI, Azure OpenAI and Anthropic on loopback: their true wire formats, and the truth about what they billed."""

from infraprism.local_provider.behaviour import MARKERS
from infraprism.local_provider.server import LocalProvider
from infraprism.local_provider.truth import Billed, Exchange, Truth

__all__ = ["MARKERS", "Billed", "Exchange", "LocalProvider", "Truth"]
