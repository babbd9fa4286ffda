"""Apps in another language, without our packages, through the real collector.

Node.js with the AI SDK's own spans, and with OpenTelemetry's instrumentation of the openai package.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.kit import node
from tests.kit.backend import KEY, Backend
from tests.kit.collector import Collector, eventually
from tests.kit.provider import OPENAI_KEY
from tests.kit.search import files, find_canaries

from infraprism import pricing
from infraprism.local_provider import BillingRecord, LocalProvider
from infraprism.schema.usage import Usage

HERE = Path(__file__).parent
CANARY = "canary-51d0-the-patient"
RESOURCE = "service.name=a-service-with-a-secret-name,infraprism.entity_type=team,infraprism.entity_id=search"
SECRETS = [CANARY, "a-service-with-a-secret-name", OPENAI_KEY]


def _billed(truth: BillingRecord) -> tuple[Any, ...]:
    """What the provider knows of a call."""
    used = truth.usage
    model = truth.response_model if used and truth.operation != "embeddings" else truth.request_model
    output = used and (used.output_tokens or (0 if truth.operation == "embeddings" else None))
    return model, used and used.input_tokens, output, used is not None


def _reported(event: dict[str, Any]) -> tuple[Any, ...]:
    """The same fields of an event."""
    output = event["output_tokens"] or (0 if event["operation"] == "embeddings" else None)
    return event["model"], event["input_tokens"], output, event["success"]


def _price(event: dict[str, Any]) -> Decimal | None:
    used = Usage(input_tokens=event["input_tokens"], output_tokens=event["output_tokens"])
    request = pricing.PricingRequest("openai", event["model"], used, 1_790_000_000 * 10**9)
    return pricing.price(request).cost_usd


@pytest.mark.parametrize(
    ("app", "protocol"),
    [pytest.param("node", "http", id="AI SDK"), pytest.param("node_openai", "grpc", id="OpenTelemetry")],
)
def test_a_node_app_through_the_collector_is_exact_attributed_and_leaves_its_prompts_behind(
    tmp_path: Path, app: str, protocol: str
) -> None:
    folder = node.installed(HERE / app)
    with LocalProvider(canary=CANARY) as provider, Backend(tmp_path / "data", key=KEY) as backend:
        collector = Collector(tmp_path / "collector", backend.url)
        collector.environment["INFRAPRISM_API_KEY"] = KEY
        with collector:
            node.run(
                folder,
                PROMPT=f"What do you think of {CANARY}?",
                OPENAI_BASE_URL=provider.openai_base_url,
                OPENAI_API_KEY=OPENAI_KEY,
                OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{getattr(collector, f'{protocol}_port')}",
                OTEL_RESOURCE_ATTRIBUTES=RESOURCE,
            )
            assert eventually(lambda: len(backend.events()) >= len(provider.calls), timeout_s=60), backend.events()
        truth, found = provider.calls, backend.events()
        _, errors = backend.stop()
    assert len(truth) == 5
    assert Counter(map(_reported, found)) == Counter(map(_billed, truth))
    assert [event for event in found if event["success"] and Decimal(str(event["cost_usd"])) != _price(event)] == []
    attribution = Counter((event["entity_id"], event["session_id"], tuple(event["tags"].items())) for event in found)
    assert attribution == Counter({("search", None, ()): 3, ("acme-corp", "s-1", (("feature", "chatbot"),)): 2})
    (failed,) = [event for event in found if not event["success"]]
    assert (failed["error_type"], failed["error_code"], failed["cost_status"]) == ("rate_limit", "429", "no_usage")
    held = {str(path): data for path, data in files(tmp_path)}
    assert any(find_canaries(["acme-corp"], data) for data in held.values()), "what may be stored is found"
    assert {path: seen for path, data in held.items() if (seen := find_canaries(SECRETS, data))} == {}
    assert find_canaries(SECRETS, (collector.log() + errors).encode()) == []
