"""Who bills a call: one of the closed list of providers."""

from __future__ import annotations


def provider_of(host: str | None, hint: str | None, model: str | None) -> str:
    """The provider, one of `infraprism.schema.fields.PROVIDERS`."""
    del host, model
    return hint if hint in ("openai", "anthropic") else "other"
