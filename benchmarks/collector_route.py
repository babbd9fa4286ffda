"""What cleaning costs the collector: spans per CPU second, with and without our processors, small and with prompts.

    python -m benchmarks.collector_route [rounds [another-config.yaml]]

One real collector per line, with its queue on disk, fed over HTTP in batches of 100 spans; the backend is a sink on
loopback. The collector's own CPU time is counted, so that the sender and the sink do not matter; the kinds take turns,
and the median of the rounds is printed with its spread. A second file is measured in the same run.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import requests
from tests.kit.collector import Collector, Config, eventually, load
from tests.kit.otlp_canaries import export_request, span
from tests.kit.otlp_sink import OtlpSink

CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.request.temperature": 0.3,
    "gen_ai.request.max_tokens": 50,
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 111,
    "gen_ai.usage.output_tokens": 37,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "openai.response.service_tier": "default",
    "server.address": "api.openai.com",
    "server.port": 443,
}
BATCH = 100
BATCHES = 150
PROMPT_BYTES = 20_000
WITHOUT: Config = {
    "service": {
        "pipelines": {
            "traces/infraprism": {
                "receivers": ["otlp"],
                "processors": ["memory_limiter"],
                "exporters": ["otlp_http/infraprism"],
            }
        }
    }
}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


class Result(NamedTuple):
    """What one run of a collector cost."""

    spans_per_cpu_second: float
    peak_mb: float
    start_s: float


def run(prompt_bytes: int, overlay: Config | None, config: Config | None = None) -> Result:
    """Send all batches through one collector with this configuration."""
    # Random text, so that it is compressed about as well as a prompt.
    prompt = {"gen_ai.input.messages": os.urandom(prompt_bytes // 2).hex()} if prompt_bytes else {}
    body = export_request([span({**CALL, **prompt}) for _ in range(BATCH)]).SerializeToString()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        OtlpSink() as sink,
        Collector(Path(folder), sink.endpoint, config, overlay) as collector,
        requests.Session() as session,
    ):
        start_s = time.monotonic() - started
        before = _cpu_seconds(collector.pid)
        url = f"http://127.0.0.1:{collector.http_port}/v1/traces"
        for _ in range(BATCHES):
            session.post(url, data=body, headers={"content-type": "application/x-protobuf"}).raise_for_status()
        sent = BATCH * BATCHES
        if not eventually(lambda: collector.metric("otelcol_exporter_sent_spans") >= sent, 300):
            raise SystemExit("not everything arrived")
        return Result(sent / (_cpu_seconds(collector.pid) - before), _peak_mb(collector.pid), start_s)


def main(rounds: int, other: Path | None) -> None:
    """Print one line per kind."""
    kinds: dict[str, tuple[int, Config | None, Config | None]] = {
        "cleaned": (0, None, None),
        "without our processors": (0, WITHOUT, None),
        "cleaned, 20 KB prompts": (PROMPT_BYTES, None, None),
        "without our processors, 20 KB prompts": (PROMPT_BYTES, WITHOUT, None),
    }
    if other is not None:
        kinds |= {f"by {other.name}": (0, None, load(other))}
        kinds |= {f"by {other.name}, 20 KB prompts": (PROMPT_BYTES, None, load(other))}
    found: dict[str, list[Result]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, kind in kinds.items():
            found[name].append(run(*kind))
    for name, results in found.items():
        rates = [result.spans_per_cpu_second for result in results]
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        peak, start = median(one.peak_mb for one in results), median(one.start_s for one in results)
        figures = f"{median(rates):8,.0f} spans per CPU second ({spread}), peak {peak:.0f} MB, start {start:.1f} s"
        print(f"{name:40} {figures}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
