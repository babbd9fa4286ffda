"""The same app against the real backend: what is stored is what the provider knows, and no file holds a canary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import KEY, Backend
from tests.kit.search import files, traces
from tests.leaks.runs import CANARIES, PROTOCOLS, known_exactly, run_app


def told(event: dict[str, Any]) -> tuple[Any, ...]:
    """What a stored event tells of a call that the provider knows as well."""
    return tuple(event[name] for name in ("provider", "input_tokens", "output_tokens", "success", "error_code"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_store_holds_every_call_once_exactly_and_no_file_holds_a_canary(protocol: str, tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        endpoint = backend.url if protocol != "grpc" else f"http://{backend.grpc_address}"
        ran = run_app("zero_code", INFRAPRISM_ENDPOINT=endpoint, INFRAPRISM_PROTOCOL=protocol, INFRAPRISM_API_KEY=KEY)
        stored = backend.events()
        _, errors = backend.stop()
    assert known_exactly(ran.truth) - Counter(map(told, stored)) == Counter()
    assert len(stored) == len(ran.truth)
    found = {str(path): traces(CANARIES, data) for path, data in files(tmp_path)}
    assert len(found) > 1
    assert {path: trace for path, trace in found.items() if trace} == {}
    assert traces(CANARIES, ("\n".join(backend.lines) + errors).encode()) == []
    assert traces([KEY], b"".join(data for _, data in files(tmp_path))) == [], "only the key's hash is stored"


def test_the_search_of_the_stores_files_finds_what_an_app_puts_into_its_own_attribution(tmp_path: Path) -> None:
    """What may be stored is found, so that what is not found is not there."""
    said = "a-customer-that-the-app-names-itself"
    with Backend(tmp_path / "data") as backend:
        run_app(
            "zero_code",
            INFRAPRISM_ENDPOINT=backend.url,
            INFRAPRISM_API_KEY=KEY,
            OTEL_RESOURCE_ATTRIBUTES=f"infraprism.entity_type=customer,infraprism.entity_id={said}",
        )
        assert {event["entity_id"] for event in backend.events()} == {said}
        backend.stop()
    assert any(traces([said], data) for _, data in files(tmp_path))
