"""Runs of the app, and what the provider knows of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.provider import ANTHROPIC_KEY, OPENAI_KEY
from tests.leaks import app

from infraprism.local_provider import BillingRecord, LocalProvider

APP = Path(app.__file__)
PROTOCOLS = ["http/protobuf", "grpc"]
# Short parts as well: a value that was cut would still hold them.
CANARIES = [app.CANARY, app.WORD, "the patient", OPENAI_KEY, ANTHROPIC_KEY, OPENAI_KEY[:12], ANTHROPIC_KEY[:12]]


@dataclass(frozen=True)
class Ran:
    """One run of the app: what it printed, and what the provider knows of it."""

    foreign: int
    logs: str
    truth: list[BillingRecord]


def run_app(route: str, **environment: str) -> Ran:
    with LocalProvider(canary=app.CANARY) as provider:
        command = [sys.executable, str(APP), route]
        if route == "zero_code":
            command = [str(Path(sys.executable).parent / "opentelemetry-instrument"), *command]
        ran = subprocess.run(
            command,
            env={
                **os.environ,
                "PYTHONPATH": str(APP.parents[2]),
                "OPENAI_BASE_URL": provider.openai_base_url,
                "OPENAI_API_KEY": OPENAI_KEY,
                "ANTHROPIC_BASE_URL": provider.anthropic_base_url,
                "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        sent = b"".join(exchange.request for exchange in provider.exchanges)
        assert sent.count(app.CANARY.encode()) > len(provider.calls), "the app must really send its canaries"
        return Ran(json.loads(ran.stdout.splitlines()[-1])["foreign"], ran.stderr, provider.calls)


def true(truth: BillingRecord) -> tuple[Any, ...]:
    failed_inside = truth.status == 200 and truth.streamed and truth.error_code is not None
    reported = truth.reported
    return (
        truth.provider,
        reported.input_tokens if reported else None,
        reported.output_tokens if reported else None,
        truth.status == 200 and not failed_inside,
        str(truth.status) if truth.status != 200 else None,
    )


def known_exactly(truths: list[BillingRecord]) -> Counter[tuple[Any, ...]]:
    """What the provider knows of every call whose end the client saw."""
    interrupted = {"stream-error", "drop"}
    return Counter(true(t) for t in truths if not any(marker in t.request_model for marker in interrupted))
