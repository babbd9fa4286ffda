"""How providers are spelled, and which provider of the price table each spelling means.

Spellings are compared in lower case and without punctuation: `azure.ai.openai`, `azure_ai_openai` and `AzureAIOpenAI`
are one. A spelling that is not here means no provider of the table, and so no price.
"""

from __future__ import annotations

from typing import Final

_BY_PROVIDER: Final = {
    "openai": "openai openaichat openairesponses openaicompletion openaiembedding openaiembeddings chatopenai",
    "anthropic": "anthropic anthropicmessages anthropicchat chatanthropic claude",
    "azure": (
        "azure azureaiopenai azureaiinference azureaifoundry azureopenai azureopenaichat azureopenairesponses "
        "azopenai azaiopenai azaiinference azureai azureinference microsoftfoundry foundry azurechatopenai"
    ),
    "aws": (
        "awsbedrock bedrock aws amazonbedrock amazon bedrockconverse bedrockruntime awsbedrockruntime awsai "
        "chatbedrock chatbedrockconverse"
    ),
    "google": (
        "google googlegemini googlevertex gcpgenai gcpgemini gcpvertexai gcp gemini geminipro vertex vertexai "
        "googlegenai googlevertexai googleaistudio googleaistudiogemini googlegenerativeai googlegla "
        "vertexaibeta vertexaianthropic googlevertexanthropic chatgooglegenerativeai chatvertexai"
    ),
    "mistral": "mistral mistralai mistralaila lachat chatmistralai",
    "cohere": "cohere cohereai coherechat chatcohere",
    "groq": "groq groqai chatgroq",
    "deepseek": "deepseek deepseekai chatdeepseek",
    "x-ai": "xai grok chatxai",
    "perplexity": "perplexity perplexityai chatperplexity",
    "openrouter": "openrouter openrouterai",
    "together": "together togetherai togethercomputer",
    "fireworks": "fireworks fireworksai",
    "cerebras": "cerebras",
    "databricks": "databricks",
    "cloudflare": "cloudflare cloudflareworkersai workersai",
    "minimax": "minimax",
    "moonshotai": "moonshot moonshotai kimi",
    "zai": "zai",
    # "zhipu" alone is both z.ai and bigmodel.cn, whose prices differ: only their own names have a price.
    "zhipuai": "zhipuai bigmodel",
    "voyageai": "voyage voyageai",
    "novita": "novita novitaai",
    "baseten": "baseten",
    "huggingface": "huggingface hf huggingfacehub",
    "avian": "avian",
    "arcee": "arcee arceeai",
    "cursor": "cursor",
    "doubleword": "doubleword",
    "elevenlabs": "elevenlabs",
    "github-copilot": "githubcopilot",
    "meta": "meta metallama metaai",
    "modal": "modal",
    "ovhcloud": "ovhcloud ovh",
    "quicksilverpro": "quicksilverpro",
    "typesafe": "typesafe",
}

SPELLINGS: Final = {
    spelling: provider for provider, spellings in _BY_PROVIDER.items() for spelling in spellings.split()
}
