"""Observe the calls of LLM client packages without ever reading their content.

from infraprism.instrumentation import attribution, instrument

instrument()
with attribution(customer="acme-corp"):
    client.chat.completions.create(...)
"""

from infraprism.attribution.scope import attribution
from infraprism.instrumentation.instrumentor import ProviderStatus, instrument, status, uninstrument

__all__ = ["ProviderStatus", "attribution", "instrument", "status", "uninstrument"]
