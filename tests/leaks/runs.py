"""Run the application, and get the billing records of its calls."""

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
# Short parts too: a truncated value would still contain them.
CANARIES = [app.CANARY, app.WORD, "the patient", OPENAI_KEY, ANTHROPIC_KEY, OPENAI_KEY[:12], ANTHROPIC_KEY[:12]]


@dataclass(frozen=True)
class Ran:
    """One run: the number of third-party spans, the output on stderr, and the provider's billing records."""

    foreign: int
    logs: str
    records: list[BillingRecord]


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
        assert sent.count(app.CANARY.encode()) > len(provider.calls), "the application must send its canaries"
        return Ran(json.loads(ran.stdout.splitlines()[-1])["foreign"], ran.stderr, provider.calls)


def facts(record: BillingRecord) -> tuple[Any, ...]:
    """The provider, tokens and outcome of a call."""
    has_error_event = record.status == 200 and record.streamed and record.error_code is not None
    reported = record.reported
    return (
        record.provider,
        reported.input_tokens if reported else None,
        reported.output_tokens if reported else None,
        record.status == 200 and not has_error_event,
        str(record.status) if record.status != 200 else None,
    )


def complete(records: list[BillingRecord]) -> Counter[tuple[Any, ...]]:
    """The facts of every call of which the client received the end."""
    interrupted = {"stream-error", "drop"}
    return Counter(facts(r) for r in records if not any(marker in r.request_model for marker in interrupted))
