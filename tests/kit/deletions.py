"""Requests of deletions, and the wait for their receipts."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.kit.backend import Backend


def deleted(backend: Backend, key: str | None = None, **scope: str) -> dict[str, Any]:
    """Delete a scope, and return the receipt."""
    answer = backend.send("DELETE", "/v1/data", scope, key)
    assert answer.status == 202, answer.body
    job = ended(backend, answer.json["id"], key)
    assert job["state"] == "succeeded", job
    receipts: list[dict[str, Any]] = backend.get("/v1/receipts", key).json["data"]
    return next(one for one in receipts if one["deletion_id"].removeprefix("del_") == job["id"].removeprefix("job_"))


def ended(backend: Backend, job_id: str, key: str | None = None) -> dict[str, Any]:
    """The job when it has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        job: dict[str, Any] = backend.get(f"/v1/jobs/{job_id}", key).json
        if job["state"] in {"succeeded", "failed", "cancelled"}:
            return job
        threading.Event().wait(0.1)
    raise AssertionError("the job did not end")
