"""A test server with the wire formats of OpenAI, Azure OpenAI and Anthropic, and a billing record per request."""

from infraprism.local_provider.billing_record import BilledTokens, BillingRecord, Exchange
from infraprism.local_provider.model_markers import MARKERS
from infraprism.local_provider.server import LocalProvider

__all__ = ["MARKERS", "BilledTokens", "BillingRecord", "Exchange", "LocalProvider"]
