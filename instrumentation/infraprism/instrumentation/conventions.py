"""Attribute keys of the emitted spans: the GenAI semantic conventions, and custom keys for missing ones."""

from __future__ import annotations

from typing import Final

from infraprism.schema import call_context

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOTAL_TOKENS: Final = "gen_ai.usage.total_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
AUDIO_INPUT_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
AUDIO_OUTPUT_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_STATUS: Final = "http.response.status_code"
OPENAI_API_TYPE: Final = "openai.api.type"
OPENAI_SERVICE_TIER: Final = "openai.response.service_tier"
ANTHROPIC_CACHE_WRITE_1H_TOKENS: Final = "anthropic.usage.cache_creation.ephemeral_1h_input_tokens"
ANTHROPIC_SERVICE_TIER: Final = "anthropic.response.service_tier"

BACKGROUND_STATE: Final = call_context.BACKGROUND_STATE
CREATED_AT: Final = call_context.CREATED_AT
COMPLETED_AT: Final = call_context.COMPLETED_AT
RESPONSE_STATUS: Final = "infraprism.response.status"
"""Read from a response and never set on a span, like `IS_BACKGROUND`."""
IS_BACKGROUND: Final = "infraprism.response.is_background"
WEB_SEARCHES: Final = "infraprism.usage.web_searches"
INFERENCE_GEO: Final = "infraprism.usage.inference_geo"
SPEED: Final = "infraprism.usage.speed"
USAGE_PARTS: Final = "infraprism.usage.parts"
UNPRICED_USAGE: Final = "infraprism.usage.unpriced"
REPORTED_COST_USD: Final = "infraprism.reported_cost_usd"
