"""Who bills a call: one of the closed list of providers.

The host that was called says it best, since a client of one provider is often pointed at another. Where the host is
unknown, or a gateway or a loopback address, the name that the instrumentation gave counts, and after it the model
where its name belongs to one provider alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from infraprism.schema import fields
from infraprism.schema.patterns import compiled

OTHER: Final = "other"

HOSTS: Final = {
    "openai.com": "openai",
    "anthropic.com": "anthropic",
    "openai.azure.com": "azure",
    "openai.azure.us": "azure",
    "services.ai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "cognitiveservices.azure.us": "azure",
    "models.ai.azure.com": "azure",
    "inference.ml.azure.com": "azure",
    "models.inference.ai.azure.com": "github",
    "models.github.ai": "github",
    "generativelanguage.googleapis.com": "google_gemini",
    "aiplatform.googleapis.com": "google_vertex",
    "mistral.ai": "mistral",
    "cohere.com": "cohere",
    "cohere.ai": "cohere",
    "groq.com": "groq",
    "deepseek.com": "deepseek",
    "x.ai": "xai",
    "perplexity.ai": "perplexity",
    "openrouter.ai": "openrouter",
    "together.xyz": "together",
    "together.ai": "together",
    "fireworks.ai": "fireworks",
    "ollama.com": "ollama",
    "cerebras.ai": "cerebras",
    "sambanova.ai": "sambanova",
    "deepinfra.com": "deepinfra",
    "api.nvidia.com": "nvidia",
    "huggingface.co": "huggingface",
    "huggingface.cloud": "huggingface",
    "replicate.com": "replicate",
    "ai21.com": "ai21",
    "moonshot.ai": "moonshot",
    "moonshot.cn": "moonshot",
    "dashscope.aliyuncs.com": "alibaba",
    "dashscope-intl.aliyuncs.com": "alibaba",
    "dashscope-us.aliyuncs.com": "alibaba",
    "bigmodel.cn": "zhipu",
    "z.ai": "zhipu",
    "minimax.io": "minimax",
    "minimax.chat": "minimax",
    "minimaxi.com": "minimax",
    "ml.cloud.ibm.com": "ibm_watsonx",
    "databricks.com": "databricks",
    "azuredatabricks.net": "databricks",
    "api.cloudflare.com": "cloudflare",
    "ai-gateway.vercel.sh": "vercel",
    "voyageai.com": "voyage",
    "jina.ai": "jina",
    "writer.com": "writer",
    "upstage.ai": "upstage",
    "novita.ai": "novita",
    "nebius.com": "nebius",
    "nebius.ai": "nebius",
    "hyperbolic.xyz": "hyperbolic",
    "baseten.co": "baseten",
    "lambda.ai": "lambda",
    "lambdalabs.com": "lambda",
}
"""A host and all hosts below it. Gateways that pass on another provider's bill are not in it."""

HOST_PATTERNS: Final = (
    (
        r"(?:.*[.-])?bedrock(?:-runtime|-mantle)?(?:-fips)?\.[a-z0-9-]+\.(?:.*\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)",
        "aws_bedrock",
    ),
    (r"[a-z0-9-]+-aiplatform\.googleapis\.com", "google_vertex"),
)

HINTS: Final = {
    **{name: name for name in fields.PROVIDERS if name != OTHER},
    # GenAI semantic conventions: gen_ai.provider.name
    "aws.bedrock": "aws_bedrock",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google_gemini",
    "gcp.vertex_ai": "google_vertex",
    "ibm.watsonx.ai": "ibm_watsonx",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshot",
    "x_ai": "xai",
    # ... and the values of gen_ai.system before 1.33 and 1.35
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "gemini": "google_gemini",
    "vertex_ai": "google_vertex",
    # names that client packages and instrumentations give themselves
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azureopenai": "azure",
    "aws": "aws_bedrock",
    "bedrock": "aws_bedrock",
    "amazon_bedrock": "aws_bedrock",
    "amazon-bedrock": "aws_bedrock",
    "bedrock_converse": "aws_bedrock",
    "google_genai": "google_gemini",
    "google-gla": "google_gemini",
    "google.generative-ai": "google_gemini",
    "google_ai_studio": "google_gemini",
    "google-vertex": "google_vertex",
    "google.vertex": "google_vertex",
    "vertexai": "google_vertex",
    "mistralai": "mistral",
    "moonshotai": "moonshot",
    "grok": "xai",
    "together_ai": "together",
    "togetherai": "together",
    "fireworks_ai": "fireworks",
    "nvidia_nim": "nvidia",
    "hugging_face": "huggingface",
    "dashscope": "alibaba",
    "watsonx": "ibm_watsonx",
    "zai": "zhipu",
    "zhipuai": "zhipu",
    "voyageai": "voyage",
    "jina_ai": "jina",
    "pplx": "perplexity",
    "google": "google_gemini",
    "googleai": "google_gemini",
    "googlegenai": "google_gemini",
    "googlegeminiai": "google_gemini",
    "google_vertexai": "google_vertex",
    "google_vertex_ai": "google_vertex",
    "google_anthropic_vertex": "google_vertex",
    "vertex": "google_vertex",
    "vertex_ai_beta": "google_vertex",
    "azure_openai_chat": "azure",
    "azure_text": "azure",
    "awsbedrock": "aws_bedrock",
    "aws_bedrock_converse": "aws_bedrock",
    "anthropic_bedrock": "aws_bedrock",
    "claude": "anthropic",
    "cohere_chat": "cohere",
    "text-completion-openai": "openai",
    "fireworksai": "fireworks",
    "gateway": "vercel",
    "hugging-face": "huggingface",
    "gcp.gen_ai": "google_gemini",
    "gcp.vertex.agent": "google_gemini",
    "google_generativeai": "google_gemini",
    "google_generative_ai": "google_gemini",
    "google-generativeai": "google_gemini",
    "gemini-developer": "google_gemini",
    "google_ai": "google_gemini",
    "langchain_google_genai": "google_gemini",
    "langchain_google_vertexai": "google_vertex",
    "azure_ai_inference": "azure",
    "azure_ai": "azure",
    "azure.openai": "azure",
    "azure_openai_responses": "azure",
    "azure_ai_foundry": "azure",
    "azure.ai.foundry": "azure",
    "azure_inference": "azure",
    "microsoft.foundry": "azure",
    "amazon": "aws_bedrock",
    "openai_chat": "openai",
    "openai-chat": "openai",
    "openai_responses": "openai",
    "openai-responses": "openai",
    "perplexity_ai": "perplexity",
    "perplexityai": "perplexity",
    "deepseek_ai": "deepseek",
    "deepseek-ai": "deepseek",
    "novita_ai": "novita",
    "workers-ai": "cloudflare",
    "cloudflare_workers_ai": "cloudflare",
    "huggingface_hub": "huggingface",
    "kimi": "moonshot",
    # LangChain's classes
    "chatopenai": "openai",
    "azurechatopenai": "azure",
    "chatanthropic": "anthropic",
    "chatbedrockconverse": "aws_bedrock",
    "chatgooglegenerativeai": "google_gemini",
    "chatvertexai": "google_vertex",
    "chatmistralai": "mistral",
    "chatcohere": "cohere",
    "chatgroq": "groq",
    "chatdeepseek": "deepseek",
    "chatxai": "xai",
    "chatperplexity": "perplexity",
    "langchain_aws": "aws_bedrock",
    "chatbedrock": "aws_bedrock",
    "bedrock-runtime": "aws_bedrock",
    "voyage_ai": "voyage",
    "writerai": "writer",
    "moonshot-ai": "moonshot",
    "xai_sdk": "xai",
    "ibm_watsonx_ai": "ibm_watsonx",
    "ibm-watsonx": "ibm_watsonx",
    "watsonx.ai": "ibm_watsonx",
    "deep_seek": "deepseek",
    "hf": "huggingface",
}
VAGUE: Final = frozenset({"google", "gcp.gen_ai", "gcp.vertex.agent", "langwatch"})
"""Names of the owner of two services, or of a framework; what else says who it was is better."""

_MODELS: Final = (
    (
        r"(?:[a-z-]+\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai|stability)\.[a-z].*",
        "aws_bedrock",
    ),
    (r"arn:aws[a-z-]*:bedrock:.*", "aws_bedrock"),
    (r"claude-[^@]*", "anthropic"),
    (r"(?:claude-.*@.*|(?:projects/.*/)?publishers/.*)", "google_vertex"),
    (r"(?:ft:)?(?:gpt-(?:3|4|5|6|image|audio|realtime|live).*|chatgpt-.*|o[134](?:-.*)?)", "openai"),
    (r"(?:text-embedding-(?:3|ada).*|dall-e-.*|whisper-1|tts-1.*)", "openai"),
    (r"grok-[0-9].*", "xai"),
    (r"deepseek-(?:chat|reasoner)", "deepseek"),
    (r"(?:mistral-(?:large|medium|small)|codestral|magistral-(?:small|medium))-(?:latest|[0-9]{4})", "mistral"),
    (r"command-.*|embed-(?:english|multilingual|v4).*|rerank-(?:english|multilingual|v3|v4).*", "cohere"),
    (r"sonar(?:-.*)?", "perplexity"),
    (r"accounts/fireworks/.*", "fireworks"),
    (r"voyage-.*", "voyage"),
    (r"jina-.*", "jina"),
    (r"moonshot-v1.*", "moonshot"),
)
"""Models that one provider alone serves under this name. Gemini is not among them: two services of Google bill it."""


_OPERATIONS: Final = (
    (r"(?:.*[-/])?moderation(?:-.*)?", None),
    (r".*rerank.*", "rerank"),
    (r".*embed.*|(?:text-)?(?:similarity|search)-.*-(?:doc|query|code|text)-.*|voyage-[^/]*", "embeddings"),
    (
        r"(?:.*[./])?(?:dall-e|(?:chat)?gpt-image|imagen|imagegeneration|stable-|sd3|sdxl|titan-image|nova-canvas|flux).*",
        "image",
    ),
    (r"(?:.*[./])?(?:whisper|distil-whisper|tts-1|gpt-4o(?:-mini)?-(?:transcribe|tts)).*", "audio"),
    (r"(?:.*/)?(?:gpt-3\.5-turbo-instruct.*|(?:text-|code-)?(?:ada|babbage|curie|davinci)(?:-00[1-3])?)", "completion"),
)
"""Models that do one kind of work alone. Moderation is not billed."""


_WITHIN_AN_ACCOUNT: Final = (
    # Google's resource names: https://docs.cloud.google.com/apis/design/resource_names
    r"(?:projects/[^/]+/)?(?:locations/[^/]+/)?(?:publishers/[^/]+/)?(?:models|endpoints)/(?P<google>[^/]+)"
    # Amazon's, of Bedrock and SageMaker: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    r"|arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:[a-z-]+/(?P<amazon>[^/]+)"
)


def model_in(name: str) -> str:
    """The model of a name that leads to it through somebody's project or account, whose own names stay here."""
    if "/" not in name:
        return name
    found = compiled(_WITHIN_AN_ACCOUNT).fullmatch(name)
    return name if found is None else found["google"] or found["amazon"]


@lru_cache(maxsize=1024)
def operation_of(model: str | None, otherwise: str) -> str | None:
    """What a call of this model is, if its name tells, or None if it is not billed; else what was said of it."""
    name = (model or "").lower()
    return next((operation for pattern, operation in _OPERATIONS if compiled(pattern).fullmatch(name)), otherwise)


def hint_of(scope: str) -> str | None:
    """The provider whose client a scope is about: `opentelemetry.instrumentation.vertexai` is about `vertexai`'s."""
    words = re.split(r"[./@]|instrumentation-", scope.lower())
    return next((word for word in reversed(words) if word in HINTS), None)


@lru_cache(maxsize=1024)
def provider_of(host: str | None, hint: str | None, model: str | None) -> str:
    """The provider, one of `infraprism.schema.fields.PROVIDERS`; `other` where nothing says it.

    `host` is the name of the server that was called, `hint` the provider's name as the instrumentation gave it, in
    today's or any older spelling, `model` the model's name.
    """
    known = _by_host(host or "")
    if known is None and (hint or "").lower() in VAGUE:
        # The model's name may say which, and may begin with the name of another provider.
        known = _by_model(model or "") or (_by_hint(model or "") if "/" in (model or "") else None)
    return known or _by_hint(hint or "") or _by_model(model or "") or OTHER


def _by_host(host: str) -> str | None:
    name = host.strip().lower().rpartition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0].rstrip(".")
    suffix = name
    while suffix:
        if suffix in HOSTS:
            return HOSTS[suffix]
        suffix = suffix.partition(".")[2]
    return next((provider for pattern, provider in HOST_PATTERNS if compiled(pattern).fullmatch(name)), None)


def _by_hint(hint: str) -> str | None:
    """A name, or the longest known beginning of a dotted one: `openai.chat` is `openai`, as is `openai/gpt-4o`.

    Also as a JSON text, in quotes.
    """
    name = hint.strip().strip('"').lower().partition("/")[0]
    while name:
        if name in HINTS:
            return HINTS[name]
        name = name.rpartition(".")[0]
    return None


def _by_model(model: str) -> str | None:
    name = model.lower()
    return next((provider for pattern, provider in _MODELS if compiled(pattern).fullmatch(name)), None)
