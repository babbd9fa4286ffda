"""The providers: how each is recognised, and which price list applies to it. Data only; `detection` is the code.

This table is the only source of provider names, spellings and hosts. `infraprism.schema.fields.PROVIDERS`, the closed
list of the event, holds the same names and `other`.

Sources of the hosts: the providers' API references, and `api_pattern` of the package genai-prices for Arcee, Avian,
Cursor, Doubleword, GitHub Copilot, Meta, OVHcloud, QuickSilver Pro and TypeSafe. Sources of the spellings: the GenAI
semantic conventions (`gen_ai.provider.name`, and `gen_ai.system` before 1.37), the class and package names of client
libraries, and the values that instrumentations record.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Provider(NamedTuple):
    """One provider, which is the party that bills the call."""

    name: str
    """The value of `infraprism.provider`; always one of its own spellings."""
    hosts: tuple[str, ...] = ()
    """Domains of the API; hosts below them belong to the provider too. Gateways that forward another provider's bill
    are not listed."""
    host_patterns: tuple[str, ...] = ()
    """Regular expressions that a whole host name must match, where a domain is not enough."""
    spellings: tuple[str, ...] = ()
    """Other names, in lower case. They are compared without punctuation. Variants that differ in punctuation alone are
    listed because the collector configuration compares literally."""
    models: tuple[str, ...] = ()
    """Regular expressions of model names that this provider alone serves, for calls without host and provider name."""
    price_list: str | None = None
    """The file in `pricing/data` with its prices. For Hugging Face it is the prefix of one file per inference provider.
    None: no prices are known."""


PROVIDERS: Final = (
    Provider(
        "openai",
        hosts=("openai.com",),
        spellings=(
            "text-completion-openai",
            "openai_chat",
            "openai-chat",
            "openai_responses",
            "openai-responses",
            "chatopenai",
            "openai_completion",
            "openai_embedding",
            "openai_embeddings",
        ),
        models=(
            "(?:ft:)?(?:gpt-(?:3|4|5|6|image|audio|realtime|live).*|chatgpt-.*|o[134](?:-.*)?)",
            "(?:text-embedding-(?:3|ada).*|dall-e-.*|whisper-1|tts-1.*)",
        ),
        price_list="openai",
    ),
    Provider(
        "anthropic",
        hosts=("anthropic.com",),
        spellings=("claude", "chatanthropic", "anthropic_messages", "anthropic_chat"),
        models=("claude-[^@]*",),
        price_list="anthropic",
    ),
    Provider(
        "azure",
        hosts=(
            "openai.azure.com",
            "openai.azure.us",
            "services.ai.azure.com",
            "cognitiveservices.azure.com",
            "cognitiveservices.azure.us",
            "models.ai.azure.com",
            "inference.ml.azure.com",
        ),
        spellings=(
            "azure.ai.inference",
            "azure.ai.openai",
            "az.ai.inference",
            "az.ai.openai",
            "azure_openai",
            "azure-openai",
            "azureopenai",
            "azure_openai_chat",
            "azure_text",
            "azure_ai_inference",
            "azure_ai",
            "azure.openai",
            "azure_openai_responses",
            "azure_ai_foundry",
            "azure.ai.foundry",
            "azure_inference",
            "microsoft.foundry",
            "azurechatopenai",
            "az.openai",
            "foundry",
        ),
        price_list="azure",
    ),
    Provider(
        "aws_bedrock",
        host_patterns=(
            r"(?:.*[.-])?bedrock(?:-runtime|-mantle)?(?:-fips)?\.[a-z0-9-]+\.(?:.*\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)",
        ),
        spellings=(
            "aws.bedrock",
            "aws",
            "bedrock",
            "amazon_bedrock",
            "amazon-bedrock",
            "bedrock_converse",
            "awsbedrock",
            "aws_bedrock_converse",
            "anthropic_bedrock",
            "amazon",
            "chatbedrockconverse",
            "langchain_aws",
            "chatbedrock",
            "bedrock-runtime",
            "aws.bedrock.runtime",
            "aws_ai",
        ),
        models=(
            r"(?:[a-z-]+\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai|stability)\.[a-z].*",
            "arn:aws[a-z-]*:bedrock:.*",
        ),
        price_list="aws",
    ),
    Provider(
        "google_gemini",
        hosts=("generativelanguage.googleapis.com",),
        spellings=(
            "gcp.gemini",
            "gemini",
            "google_genai",
            "google-gla",
            "google.generative-ai",
            "google_ai_studio",
            "google",
            "googleai",
            "googlegenai",
            "googlegeminiai",
            "gcp.gen_ai",
            "gcp.vertex.agent",
            "google_generativeai",
            "google_generative_ai",
            "google-generativeai",
            "gemini-developer",
            "google_ai",
            "langchain_google_genai",
            "chatgooglegenerativeai",
            "gcp",
            "gemini-pro",
            "google_ai_studio_gemini",
        ),
        price_list="google",
    ),
    Provider(
        "google_vertex",
        hosts=("aiplatform.googleapis.com",),
        host_patterns=(r"[a-z0-9-]+-aiplatform\.googleapis\.com", r"aiplatform\.[a-z0-9-]+\.rep\.googleapis\.com"),
        spellings=(
            "gcp.vertex_ai",
            "vertex_ai",
            "google-vertex",
            "google.vertex",
            "vertexai",
            "google_vertexai",
            "google_vertex_ai",
            "google_anthropic_vertex",
            "vertex",
            "vertex_ai_beta",
            "langchain_google_vertexai",
            "chatvertexai",
            "vertex_ai_anthropic",
            "google_vertex_anthropic",
        ),
        models=("(?:claude-.*@.*|(?:projects/.*/)?publishers/.*)",),
        price_list="google",
    ),
    Provider(
        "mistral",
        hosts=("mistral.ai",),
        spellings=("mistral_ai", "mistralai", "chatmistralai", "mistral_ai_la", "lachat"),
        models=("(?:mistral-(?:large|medium|small)|codestral|magistral-(?:small|medium))-(?:latest|[0-9]{4})",),
        price_list="mistral",
    ),
    Provider(
        "cohere",
        hosts=("cohere.com", "cohere.ai"),
        spellings=("cohere_chat", "chatcohere", "cohere_ai"),
        models=("command-.*|embed-(?:english|multilingual|v4).*|rerank-(?:english|multilingual|v3|v4).*",),
        price_list="cohere",
    ),
    Provider("groq", hosts=("groq.com",), spellings=("chatgroq", "groq_ai"), price_list="groq"),
    Provider(
        "deepseek",
        hosts=("deepseek.com",),
        spellings=("deepseek_ai", "deepseek-ai", "chatdeepseek", "deep_seek"),
        models=("deepseek-(?:chat|reasoner)",),
        price_list="deepseek",
    ),
    Provider(
        "xai",
        hosts=("x.ai",),
        spellings=("x_ai", "grok", "chatxai", "xai_sdk"),
        models=("grok-[0-9].*",),
        price_list="x-ai",
    ),
    Provider(
        "perplexity",
        hosts=("perplexity.ai",),
        spellings=("pplx", "perplexity_ai", "perplexityai", "chatperplexity"),
        models=("sonar(?:-.*)?",),
        price_list="perplexity",
    ),
    Provider("openrouter", hosts=("openrouter.ai",), spellings=("openrouter_ai",), price_list="openrouter"),
    Provider(
        "together",
        hosts=("together.xyz", "together.ai"),
        spellings=("together_ai", "togetherai", "togethercomputer"),
        price_list="together",
    ),
    Provider(
        "fireworks",
        hosts=("fireworks.ai",),
        spellings=("fireworks_ai", "fireworksai"),
        models=("accounts/fireworks/.*",),
        price_list="fireworks",
    ),
    Provider("ollama", hosts=("ollama.com",)),
    Provider("cerebras", hosts=("cerebras.ai",), price_list="cerebras"),
    Provider("sambanova", hosts=("sambanova.ai",)),
    Provider("deepinfra", hosts=("deepinfra.com",)),
    Provider("nvidia", hosts=("api.nvidia.com",), spellings=("nvidia_nim",)),
    Provider(
        "huggingface",
        hosts=("huggingface.co", "huggingface.cloud"),
        spellings=("hugging_face", "hugging-face", "huggingface_hub", "hf"),
        price_list="huggingface",
    ),
    Provider("replicate", hosts=("replicate.com",)),
    Provider("ai21", hosts=("ai21.com",)),
    Provider(
        "moonshot",
        hosts=("moonshot.ai", "moonshot.cn"),
        spellings=("moonshot_ai", "moonshotai", "kimi", "moonshot-ai"),
        models=("moonshot-v1.*",),
        price_list="moonshotai",
    ),
    Provider(
        "alibaba",
        hosts=("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"),
        spellings=("dashscope",),
    ),
    # Zhipu AI sells one model at two prices, on z.ai and on bigmodel.cn. This is a call of which the platform is
    # not known: it has no price.
    Provider("zhipu"),
    Provider("zai", hosts=("z.ai",), spellings=("z.ai", "z_ai"), price_list="zai"),
    Provider("bigmodel", hosts=("bigmodel.cn",), spellings=("zhipuai", "zhipu_ai"), price_list="zhipuai"),
    Provider("minimax", hosts=("minimax.io", "minimax.chat", "minimaxi.com"), price_list="minimax"),
    Provider(
        "ibm_watsonx",
        hosts=("ml.cloud.ibm.com",),
        spellings=("ibm.watsonx.ai", "watsonx", "ibm_watsonx_ai", "ibm-watsonx", "watsonx.ai"),
    ),
    Provider("databricks", hosts=("databricks.com", "azuredatabricks.net"), price_list="databricks"),
    Provider(
        "cloudflare",
        hosts=("api.cloudflare.com",),
        spellings=("workers-ai", "cloudflare_workers_ai"),
        price_list="cloudflare",
    ),
    Provider("github", hosts=("models.inference.ai.azure.com", "models.github.ai")),
    Provider("vercel", hosts=("ai-gateway.vercel.sh",), spellings=("gateway",)),
    Provider(
        "voyage",
        hosts=("voyageai.com",),
        spellings=("voyageai", "voyage_ai"),
        models=("voyage-.*",),
        price_list="voyageai",
    ),
    Provider("jina", hosts=("jina.ai",), spellings=("jina_ai",), models=("jina-.*",)),
    Provider("writer", hosts=("writer.com",), spellings=("writerai",)),
    Provider("upstage", hosts=("upstage.ai",)),
    Provider("novita", hosts=("novita.ai",), spellings=("novita_ai",), price_list="novita"),
    Provider("nebius", hosts=("nebius.com", "nebius.ai")),
    Provider("hyperbolic", hosts=("hyperbolic.xyz",)),
    Provider("baseten", hosts=("baseten.co",), price_list="baseten"),
    Provider("lambda", hosts=("lambda.ai", "lambdalabs.com")),
    Provider("arcee", hosts=("api.arcee.ai",), spellings=("arcee_ai", "arcee-ai"), price_list="arcee"),
    Provider("avian", hosts=("api.avian.io",), price_list="avian"),
    Provider("cursor", hosts=("api.cursor.com",), price_list="cursor"),
    Provider("doubleword", hosts=("api.doubleword.ai",), price_list="doubleword"),
    Provider(
        "github_copilot", hosts=("githubcopilot.com",), spellings=("github-copilot",), price_list="github-copilot"
    ),
    # Not spelled "meta" or "meta-llama": those are makers of models that other providers serve.
    Provider("meta_ai", hosts=("api.meta.ai",), spellings=("meta.ai",), price_list="meta"),
    Provider("ovhcloud", hosts=("endpoints.kepler.ai.cloud.ovh.net",), spellings=("ovh",), price_list="ovhcloud"),
    Provider("quicksilverpro", hosts=("api.quicksilverpro.io",), price_list="quicksilverpro"),
    Provider("typesafe", hosts=("api.typesafe.ai",), price_list="typesafe"),
)

VAGUE_SPELLINGS: Final = ("google", "gcp", "gcp.gen_ai", "gcp.vertex.agent", "langwatch")
"""Names of a company with several services, or of a framework. Any other evidence of the provider has precedence."""
