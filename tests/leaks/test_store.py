"""With the backend: the stored events equal the billing records, and no file contains a canary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import KEY, Backend
from tests.kit.search import files, find_canaries
from tests.leaks.runs import CANARIES, PROTOCOLS, complete, run_app


def facts(event: dict[str, Any]) -> tuple[Any, ...]:
    """The provider, tokens and outcome of a stored event."""
    return tuple(event[name] for name in ("provider", "input_tokens", "output_tokens", "success", "error_code"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_store_contains_every_call_exactly_once_and_no_file_contains_a_canary(
    protocol: str, tmp_path: Path
) -> None:
    with Backend(tmp_path / "data") as backend:
        endpoint = backend.url if protocol != "grpc" else f"http://{backend.grpc_address}"
        ran = run_app("zero_code", INFRAPRISM_ENDPOINT=endpoint, INFRAPRISM_PROTOCOL=protocol, INFRAPRISM_API_KEY=KEY)
        stored = backend.events()
        _, errors = backend.stop()
    assert complete(ran.records) - Counter(map(facts, stored)) == Counter()
    assert len(stored) == len(ran.records)
    found = {str(path): find_canaries(CANARIES, data) for path, data in files(tmp_path)}
    assert len(found) > 1
    assert {path: trace for path, trace in found.items() if trace} == {}
    assert find_canaries(CANARIES, ("\n".join(backend.lines) + errors).encode()) == []
    assert find_canaries([KEY], b"".join(data for _, data in files(tmp_path))) == [], "only the key's hash is stored"


def test_the_search_finds_the_attribution_of_the_application_in_the_files_of_the_store(tmp_path: Path) -> None:
    """A value that may be stored is found, so a value that is not found is not stored."""
    customer = "a-customer-of-the-application"
    with Backend(tmp_path / "data") as backend:
        run_app(
            "zero_code",
            INFRAPRISM_ENDPOINT=backend.url,
            INFRAPRISM_API_KEY=KEY,
            OTEL_RESOURCE_ATTRIBUTES=f"infraprism.entity_type=customer,infraprism.entity_id={customer}",
        )
        assert {event["entity_id"] for event in backend.events()} == {customer}
        backend.stop()
    assert any(find_canaries([customer], data) for _, data in files(tmp_path))
