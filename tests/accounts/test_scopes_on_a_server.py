"""Scopes on a running server: OTLP over HTTP and gRPC, queries, and the setup link of the first start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from tests.kit.backend import Backend, request, span
from tests.kit.command import infraprism
from tests.kit.events import event

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.permissions import Scope


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("scopes") / "data", key=None) as running:
        found = re.search(r"=(ip-\S+)", "".join(running.lines))
        assert found is not None
        running.key = found[1]
        yield running


def key(backend: Backend, *scopes: Scope) -> str:
    with closing(Accounts(backend.data_dir / "accounts.sqlite")) as accounts:
        return accounts.add_key(accounts.all()[0].id, scopes=scopes)


def over_grpc(backend: Backend, key: str) -> grpc.StatusCode:
    with grpc.insecure_channel(backend.grpc_address) as channel:
        try:
            TraceServiceStub(channel).Export(
                request([span(event(3))]), metadata=(("authorization", f"Bearer {key}"),), timeout=30
            )
        except grpc.RpcError as error:
            found: grpc.StatusCode = error.code()
            return found
    return grpc.StatusCode.OK


def test_otlp_needs_the_scope_ingest_and_queries_need_read(backend: Backend) -> None:
    ingest, read, admin = key(backend, "ingest"), key(backend, "read"), key(backend, "admin")
    sent = {found: backend.export(span(event(2)), key=found).status for found in (ingest, read, admin)}
    assert sent == {ingest: 200, read: 403, admin: 403}
    calls = {found: over_grpc(backend, found) for found in (ingest, read, admin)}
    denied = grpc.StatusCode.PERMISSION_DENIED
    assert calls == {ingest: grpc.StatusCode.OK, read: denied, admin: denied}
    for path in ("/v1/me", "/v1/events", "/v1/analytics/costs", "/v1/jobs"):
        read_by = {found: backend.get(path, found).status for found in (ingest, read, admin)}
        assert read_by == {ingest: 403, read: 200, admin: 403}, path


def test_the_doctor_accepts_a_key_that_only_sends(backend: Backend) -> None:
    settings = {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": key(backend, "ingest")}
    ran = infraprism("doctor", environment=settings)
    assert "it lacks the scope read" in ran.stdout


def test_every_route_under_v1_has_a_scope(backend: Backend) -> None:
    paths = backend.http("/openapi.json", None, {}).json["paths"]
    without = key(backend, "ingest")
    for path, methods in paths.items():
        if path.startswith("/v1/") and "get" in methods:
            answer = backend.get(re.sub(r"\{\w+\}", "x", path), without)
            assert answer.status == 403, path
