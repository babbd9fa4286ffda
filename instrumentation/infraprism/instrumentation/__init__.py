"""Instrument LLM client packages: metadata only, content is never read.

from infraprism.instrumentation import attribution, instrument

instrument()
with attribution(customer="acme-corp"):
    client.chat.completions.create(...)
"""

from infraprism.attribution.scope import attribution, current_attribution
from infraprism.instrumentation.instrumentor import ProviderStatus, instrument, status, uninstrument
from infraprism.instrumentation.providers import NOT_OBSERVED

__all__ = [
    "NOT_OBSERVED",
    "ProviderStatus",
    "attribution",
    "current_attribution",
    "instrument",
    "status",
    "uninstrument",
]
