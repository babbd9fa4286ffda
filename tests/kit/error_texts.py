"""Error texts of clients in many languages, with the type and code that each is classified as."""

from __future__ import annotations

from typing import Final

_OPENAI = "Error code: 400 - {'error': {'message': '%s', 'type': 'invalid_request_error', 'param': None, 'code': '%s'}}"
_IN_STREAM = "{'type': 'error', 'error': {'details': None, 'type': '%s', 'message': 'CANARY'}, 'request_id': 'req_429'}"
_AWS = "An error occurred (%s) when calling the Converse operation (reached max retries: 4): %s"

CLASSIFIED: Final[dict[str, tuple[str, str | None]]] = {
    # A status, in brackets and behind words.
    "[429] CANARY": ("rate_limit", "429"),
    "[GoogleGenerativeAI Error]: Error fetching from https://example.com/v1: [503 Service Unavailable] CANARY": (
        "overloaded",
        "503",
    ),
    "CANARY (status code: 429)": ("rate_limit", "429"),
    # The provider's message after the class of the package that passed it on.
    "ModelProviderError: Rate limit reached for CANARY": ("rate_limit", "429"),
    "agno.exceptions.ModelProviderError: Overloaded": ("overloaded", "529"),
    # Azure's clients for Python.
    "(rate_limit_exceeded) CANARY\nCode: rate_limit_exceeded": ("rate_limit", "rate_limit_exceeded"),
    "(context_length_exceeded) CANARY": ("context_length", "context_length_exceeded"),
    "(None) The server had an error while processing your request CANARY": ("server_error", "500"),
    "(server_error) CANARY": ("server_error", "server_error"),
    "APIError: An error occurred while processing your request CANARY": ("server_error", None),
    "An error occurred while processing your request. CANARY": ("server_error", None),
    "status_code=401 CANARY": ("authentication", "401"),
    "statusCode: 500, CANARY": ("server_error", "500"),
    '{"error":{"code":429,"message":"CANARY"}}': ("rate_limit", "429"),
    'CANARY {"status": 403}': ("permission", "403"),
    "429 - CANARY": ("rate_limit", "429"),
    "HTTP 503": ("overloaded", "503"),
    "HTTP/1.1 404 CANARY": ("not_found", "404"),
    "HTTP 401 - CANARY": ("authentication", "401"),
    "Request failed with status code 429": ("rate_limit", "429"),
    "Request failed with status 504": ("timeout", "504"),
    "Client error '429 Too Many Requests' for url 'https://example.com/CANARY'": ("rate_limit", "429"),
    "HTTPError: 404 Client Error: Not Found for url: https://example.com/CANARY": ("not_found", "404"),
    "googleapi: Error 403: CANARY": ("permission", "403"),
    "Error 429, Message: CANARY, Status: RESOURCE_EXHAUSTED, Details: []": ("rate_limit", "429"),
    'POST "https://example.com/v1": 401 Unauthorized {"message":"CANARY"}': ("authentication", "401"),
    "error, status code: 429, status: 429 Too Many Requests, message: CANARY": ("rate_limit", "429"),
    "HTTP status client error (429 Too Many Requests) for url (https://example.com)": ("rate_limit", "429"),
    "Response status code does not indicate success: 503.": ("overloaded", "503"),
    "CANARY\nStatus: 429 (Too Many Requests)": ("rate_limit", "429"),
    "CANARY (Service: BedrockRuntime, Status Code: 403, Request ID: 429)": ("permission", "403"),
    "429 TOO_MANY_REQUESTS from POST https://example.com": ("rate_limit", "429"),
    'API Error: 529 {"type":"error"}': ("overloaded", "529"),
    "RateLimitError(\"Error code: 429 - {'error': 'CANARY'}\")Traceback (most recent call last):": (
        "rate_limit",
        "429",
    ),
    # The provider's response is more exact than its status.
    _OPENAI % ("CANARY", "context_length_exceeded"): ("context_length", "400"),
    _OPENAI % ("CANARY", "content_filter"): ("content_filter", "400"),
    _OPENAI % ("This model\\'s maximum context length is 8192 tokens, CANARY", "None"): ("context_length", "400"),
    _OPENAI % ("CANARY", "None"): ("invalid_request", "400"),
    _OPENAI % ("CANARY: Read timed out", "None"): ("invalid_request", "400"),
    # Errors within a stream have no status.
    _IN_STREAM % "overloaded_error": ("overloaded", "overloaded_error"),
    _IN_STREAM % "rate_limit_error": ("rate_limit", "rate_limit_error"),
    _IN_STREAM % "invalid_request_error": ("invalid_request", "invalid_request_error"),
    '{\\"error\\":{\\"code\\":\\"rate_limit_exceeded\\",\\"message\\":\\"CANARY\\"}}': (
        "rate_limit",
        "rate_limit_exceeded",
    ),
    # gRPC, botocore, and texts that begin with a class.
    '<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.RESOURCE_EXHAUSTED\n\tdetails = "CANARY"': (
        "rate_limit",
        "resource_exhausted",
    ),
    "rpc error: code = ResourceExhausted desc = CANARY": ("rate_limit", None),
    "rpc error: code = Internal desc = CANARY": ("server_error", None),
    "8 RESOURCE_EXHAUSTED: CANARY": ("rate_limit", "resource_exhausted"),
    "io.grpc.StatusRuntimeException: DEADLINE_EXCEEDED: CANARY": ("timeout", "deadline_exceeded"),
    _AWS % ("ThrottlingException", "CANARY"): ("rate_limit", None),
    _AWS % ("AccessDeniedException", "CANARY"): ("permission", None),
    _AWS % ("ValidationException", "Input is too long for requested model."): ("context_length", None),
    "litellm.RateLimitError: RateLimitError: OpenAIException - CANARY": ("rate_limit", None),
    "litellm.Timeout: CANARY": ("timeout", None),
    "BadRequestError('CANARY')": ("invalid_request", None),
    # No response.
    "Connection error.": ("connection", None),
    "Request timed out.": ("timeout", None),
    "Request was aborted.": ("cancelled", None),
    "abandoned stream": ("cancelled", None),
    "connect ECONNREFUSED 127.0.0.1:80": ("connection", None),
    'Post "https://example.com": dial tcp 127.0.0.1:443: connect: connection refused': ("connection", None),
    'Post "https://example.com": context deadline exceeded': ("timeout", None),
    'Post "https://example.com": context canceled': ("cancelled", None),
    "prompt is too long: 210000 tokens > 200000 maximum": ("context_length", None),
    "Output blocked by content filtering policy": ("content_filter", None),
}
"""The error type and code of each text, without any other information about the error."""

UNCLASSIFIED: Final = (
    *("max 400 tokens", "max_tokens: 400", "This model supports at most 500 tokens", "requested 429 of 500 tokens"),
    *("request id: req_429", "req 500-429-404", "Invalid 'messages[429]': CANARY", "Invalid 'input[500]': CANARY"),
    *("took 500 ms", "HTTP 500ms", "at line 404: CANARY", "the price is 429.99", "status: 404.5", "items: [400, 500]"),
    *("error 429 in the prompt", "a list [500] of things", "There are 429 Too many", "status_code: 4291", "code 429"),
    *("My customer said: timeout", "CANARY RateLimitError", "a rate_limit_error, says CANARY", "status code 200"),
)
"""Texts with numbers and words that do not classify the error."""
