"""Client packages whose calls InfraPrism does not observe by itself, and what to install or do, as data.

The instrumentations named here write spans that InfraPrism reads (docs/dialects.md). The URLs are the OpenAI-compatible
APIs in the documentation of each provider.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Unobserved(NamedTuple):
    """One package. `calls` are those that are missing.

    `instrumentations` are distributions that observe it, the recommended one first. `advice` replaces the advice to
    install that. `compatible_url` is where the openai package reaches the same models.
    """

    package: str
    calls: str
    instrumentations: tuple[str, ...] = ()
    advice: str = ""
    compatible_url: str = ""


_BEDROCK: Final = (
    "opentelemetry-instrumentation-botocore",
    "opentelemetry-instrumentation-genai-bedrock",
    "opentelemetry-instrumentation-bedrock",
    "openinference-instrumentation-bedrock",
)
_NO_INSTRUMENTATION: Final = "No known instrumentation observes it"

UNOBSERVED: Final = (
    Unobserved(
        "google-genai",
        "its calls",
        (
            "opentelemetry-instrumentation-google-genai",
            "openinference-instrumentation-google-genai",
            "opentelemetry-instrumentation-google-generativeai",
        ),
        compatible_url="https://generativelanguage.googleapis.com/v1beta/openai/",
    ),
    Unobserved(
        "google-generativeai",
        "its calls",
        ("opentelemetry-instrumentation-google-generativeai",),
    ),
    Unobserved(
        "google-cloud-aiplatform",
        "Vertex AI calls",
        ("opentelemetry-instrumentation-vertexai", "openinference-instrumentation-vertexai"),
    ),
    Unobserved("boto3", "calls of Bedrock", _BEDROCK),
    Unobserved("botocore", "calls of Bedrock", _BEDROCK),
    Unobserved("aiobotocore", "calls of Bedrock", _BEDROCK),
    Unobserved(
        "mistralai",
        "its calls",
        ("openinference-instrumentation-mistralai", "opentelemetry-instrumentation-mistralai"),
        advice="pip install openinference-instrumentation-mistralai, or from version 2 on MISTRAL_SDK_TELEMETRY=global",
    ),
    Unobserved(
        "cohere",
        "its calls",
        ("opentelemetry-instrumentation-cohere", "openinference-instrumentation-cohere"),
        compatible_url="https://api.cohere.ai/compatibility/v1",
    ),
    Unobserved(
        "groq",
        "its calls",
        ("openinference-instrumentation-groq", "opentelemetry-instrumentation-groq"),
        compatible_url="https://api.groq.com/openai/v1",
    ),
    Unobserved(
        "ollama",
        "its calls",
        ("opentelemetry-instrumentation-ollama", "openinference-instrumentation-ollama"),
        compatible_url="http://localhost:11434/v1",
    ),
    Unobserved(
        "litellm",
        "calls of providers that it does not reach through the openai package",
        ("openinference-instrumentation-litellm", "opentelemetry-instrumentation-litellm"),
        advice="pip install openinference-instrumentation-litellm, or set litellm.callbacks = ['otel'] in the app",
    ),
    Unobserved(
        "together",
        "its calls",
        ("opentelemetry-instrumentation-together", "openinference-instrumentation-together"),
        compatible_url="https://api.together.xyz/v1",
    ),
    Unobserved(
        "huggingface_hub",
        "calls of its InferenceClient",
        advice=_NO_INSTRUMENTATION,
        compatible_url="https://router.huggingface.co/v1",
    ),
    Unobserved("replicate", "its calls", ("opentelemetry-instrumentation-replicate",)),
    Unobserved("ibm-watsonx-ai", "its calls", ("opentelemetry-instrumentation-watsonx",)),
    Unobserved("aleph-alpha-client", "its calls", ("opentelemetry-instrumentation-alephalpha",)),
    Unobserved("xai-sdk", "its calls", advice=_NO_INSTRUMENTATION, compatible_url="https://api.x.ai/v1"),
    Unobserved(
        "cerebras_cloud_sdk", "its calls", advice=_NO_INSTRUMENTATION, compatible_url="https://api.cerebras.ai/v1"
    ),
    Unobserved(
        "fireworks-ai",
        "its calls",
        advice=_NO_INSTRUMENTATION,
        compatible_url="https://api.fireworks.ai/inference/v1",
    ),
    Unobserved(
        "dashscope",
        "its calls",
        advice=_NO_INSTRUMENTATION,
        compatible_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    ),
)
