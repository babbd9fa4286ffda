"""Instructions that measuring a call adds to it: a chat call, and a stream of 101 chunks, by callgrind.

    python benchmarks/instrumentation.py

Each figure is a slope: the same program with more and with fewer calls, under callgrind, which counts instructions
and knows no noise of the machine. `span` is one bare span of the same attributes, as a yardstick. Needs valgrind.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import openai
from opentelemetry.sdk.trace import TracerProvider

from infraprism.instrumentation import instrument
from infraprism.processor import InfraPrismSpanProcessor, Tally

try:
    import httpx2 as httpx
except ImportError:  # before version 3 of openai
    import httpx

FEW, MANY = 10, 40
MESSAGES: list[Any] = [{"role": "user", "content": "What is the capital of France? " * 10}]
USAGE = {
    "prompt_tokens": 111,
    "completion_tokens": 37,
    "total_tokens": 148,
    "prompt_tokens_details": {"cached_tokens": 40},
}
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-2024-08-06"}


class Nowhere:
    """Takes events, as the exporter's face does."""

    def __init__(self) -> None:
        self.tally = Tally()

    def export_events(self, events: Any) -> None:
        self.tally.accept(len(events))
        self.tally.end("delivered", count=len(events))

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - an exporter's signature
        return True

    def shutdown(self, timeout_millis: int = 5000) -> None:
        pass


def answer() -> dict[str, Any]:
    message = {"role": "assistant", "content": "Paris."}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def stream() -> bytes:
    chunks: list[dict[str, Any]] = [
        {**HEAD, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "word "}}]}
    ] * 100
    chunks.append({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def program(kind: str, mode: str, calls: int) -> None:
    """What runs under callgrind."""
    whole, streamed = json.dumps(answer()).encode(), stream()

    def reply(_: Any) -> Any:
        if kind == "stream":
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=streamed)
        return httpx.Response(200, headers={"content-type": "application/json"}, content=whole)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(InfraPrismSpanProcessor(Nowhere()))
    if mode == "ours":
        instrument(provider)
    client = openai.OpenAI(
        api_key="k", base_url="http://host.test/v1", http_client=httpx.Client(transport=httpx.MockTransport(reply))
    )
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("yardstick")
    attributes = {f"gen_ai.attribute.{n}": n for n in range(12)}
    for number in range(10 + calls):
        if number == 10:  # warm
            gc.collect()
        if mode == "span":
            tracer.start_span("chat gpt-4o", attributes=attributes).end()
        made = client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, **({"stream": True} if kind == "stream" else {})
        )
        if kind == "stream":
            for _ in made:
                pass
    provider.force_flush(5000)


def instructions(kind: str, mode: str, calls: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        ran = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"),
                *(sys.executable, __file__, kind, mode, str(calls)),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        if ran.returncode:
            raise SystemExit(ran.stderr)
        return int(
            next(line for line in out.read_text().splitlines() if line.startswith(("totals:", "summary:"))).split()[1]
        )


def per_call(kind: str, mode: str) -> float:
    return (instructions(kind, mode, MANY) - instructions(kind, mode, FEW)) / (MANY - FEW)


def main() -> None:
    for kind in ("chat", "stream"):
        bare, span, ours = (per_call(kind, mode) for mode in ("bare", "span", "ours"))
        print(
            f"{kind:7} bare {bare / 1e6:6.2f} M   a bare span adds {(span - bare) / 1e6:5.2f} M   "
            f"measuring adds {(ours - bare) / 1e6:5.2f} M instructions a call",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        program(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
