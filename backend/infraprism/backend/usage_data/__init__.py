"""Usage data: page views, feature usage, errors and requests, without any value."""

from infraprism.backend.usage_data.usage_data import UsageData

__all__ = ["UsageData"]
