"""`infraprism demo`: the steps of the demo and its output."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infraprism.cli.command import Subparsers, new_parser, port
from infraprism.cli.costs import costs_table
from infraprism.cli.demo import check, show
from infraprism.cli.demo.backend import Backend, backend
from infraprism.cli.demo.example import NAME, example_app
from infraprism.cli.demo.processes import exit_on_sigterm, run_app
from infraprism.cli.demo.wire import Wire
from infraprism.cli.events import events_table
from infraprism.cli.failure import Failure
from infraprism.cli.preview import instrument_command
from infraprism.local_provider import Exchange, LocalProvider
from infraprism.schema import exact_json

_EXAMPLES: Final = f"""\
Starts the backend and a local OpenAI and Anthropic API on free ports of this machine, runs the unmodified app {NAME}
under opentelemetry-instrument, and prints the stored events. Then it checks that the events equal the calls that the
provider served, to the token, and that no text of a request or response was sent; if not, exit status 1.

examples:
  infraprism demo
  infraprism demo --serve              keep the backend running
  infraprism demo --json               print only the events, one line of JSON each
  OPENAI_API_KEY=sk-... infraprism demo --real"""
_STORED_S: Final = 20.0
_POLL_S: Final = 0.1
_APP_S: Final = 300.0
_LOCAL_MODELS: Final = {"SUPPORT_URGENT_MODEL": "gpt-4.1-mini-err429"}
_TELEMETRY: Final = ("OTEL_", "INFRAPRISM_")
_VENDORS: Final = ("OPENAI_", "ANTHROPIC_", "AZURE_OPENAI_", "SUPPORT_")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Describe the command."""
    parser = new_parser(subparsers, "demo", "run a demo app against a local provider and check its events", _EXAMPLES)
    parser.add_argument(
        "--real", action="store_true", help="call the real providers with OPENAI_API_KEY and ANTHROPIC_API_KEY"
    )
    parser.add_argument("--serve", action="store_true", help="keep the backend running until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print only the events, one line of JSON each")
    parser.add_argument("--port", type=port, help="port of the backend (default: a free port)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the demo. Raises Failure if a step or a check fails."""
    exit_on_sigterm()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(
        filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost"))
    )
    app = example_app()
    if args.real and not _has_key():
        raise Failure("--real needs OPENAI_API_KEY or ANTHROPIC_API_KEY")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infraprism-demo-")))
        _print_status("Starting the backend ...")
        server = stack.enter_context(backend(folder, args.port))
        provider = None if args.real else stack.enter_context(LocalProvider())
        wire = stack.enter_context(Wire(server.port))
        _print_status(f"Running `opentelemetry-instrument python {NAME}` ...")
        keys = _keys(provider)
        output = _run_app(app, _environment(provider, keys) | _settings(wire, server), folder)
        exchanges = provider.exchanges if provider else []
        served = check.calls(exchanges)
        events = _stored(server, len(served) if provider else len(wire.spans))
        run_data = _RunData(wire, exchanges, served, events, output, tuple(keys.values()))
        try:
            if args.json:
                sys.stdout.writelines(exact_json.dumps(event) + "\n" for event in events)
            else:
                _print(server, run_data)
            sys.stdout.flush()
        finally:
            # Also if the reader closes the pipe: the exit status is that of the check.
            _print_status(_check(run_data))
        if args.serve:
            _serve(server)
        elif not args.json:
            _print_line(_next_steps())
    return 0


@dataclass(frozen=True)
class _RunData:
    """The data that is printed and checked. Without a local provider there are no exchanges."""

    wire: Wire
    exchanges: Sequence[Exchange]
    served: Sequence[Exchange]
    events: Sequence[Mapping[str, Any]]
    output: str
    keys: tuple[str, ...]


def _has_key() -> bool:
    return bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("ANTHROPIC_API_KEY"))


def _keys(provider: LocalProvider | None) -> dict[str, str]:
    """The API keys of the vendors. For the local provider, which accepts any, they are generated."""
    if provider is None:
        return {name: os.environ[name] for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY") if os.environ.get(name)}
    generated = secrets.token_hex(16)
    return {"OPENAI_API_KEY": f"sk-proj-{generated}", "ANTHROPIC_API_KEY": f"sk-ant-api03-{generated}"}


def _environment(provider: LocalProvider | None, keys: Mapping[str, str]) -> dict[str, str]:
    """The environment of the app. With a local provider, the variables of the vendors point to it."""
    dropped = _TELEMETRY if provider is None else (*_TELEMETRY, *_VENDORS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    if provider is None:
        return kept
    urls = {"OPENAI_BASE_URL": provider.openai_base_url, "ANTHROPIC_BASE_URL": provider.anthropic_base_url}
    return kept | urls | dict(keys) | _LOCAL_MODELS


def _settings(wire: Wire, server: Backend) -> dict[str, str]:
    """The only InfraPrism settings that the app needs."""
    return {"INFRAPRISM_ENDPOINT": wire.endpoint, "INFRAPRISM_API_KEY": server.api_key}


def _run_app(app: Path, environment: Mapping[str, str], folder: Path) -> str:
    return run_app([instrument_command(), sys.executable, app], environment, folder / "app.log", _APP_S)


def _check(run_data: _RunData) -> str:
    """Run all checks. Returns the result in lines of at most 80 columns. Raises Failure if one fails."""
    if not run_data.events:
        raise Failure("the app ran, but no event arrived: run `infraprism doctor`")
    content = check.contents(run_data.exchanges, *run_data.keys)
    if run_data.exchanges:
        check.check_counts(run_data.served, run_data.events)
    else:
        content.update(line for line in run_data.output.splitlines() if line)
    check.check_no_content(run_data.wire.bodies, content)
    check.check_closed(run_data.wire.spans)
    no_content = f"No part of {len(content)} private texts was sent."
    if not run_data.exchanges:
        return f"Checked: {len(run_data.events)} events. {no_content}"
    return (
        f"Checked: {len(run_data.exchanges)} requests, {len(run_data.served)} calls, {len(run_data.events)} events.\n"
        f"Token counts equal the provider's. {no_content}"
    )


def _stored(server: Backend, expected: int) -> list[dict[str, Any]]:
    """The stored events, oldest first, once there are as many as expected or _STORED_S are over."""
    api = server.api()
    until = time.monotonic() + _STORED_S
    while True:
        events = list(api.all_events({}))
        if len(events) >= expected or time.monotonic() > until:
            return events[::-1]
        time.sleep(_POLL_S)


def _print(server: Backend, run_data: _RunData) -> None:
    costs = server.api().get("/v1/analytics/costs", {"group_by": "entity"})
    _print_line(show.heading("Stored events"))
    _print_line(events_table(run_data.events, show.width()))
    _print_line(show.heading("Cost per customer"))
    _print_line(costs_table(costs, ["entity"], show.width()))
    _print_line(show.heading("One call: request and response of the app, and the span that was sent"))
    _print_line(_one_call(run_data, show.width()))


def _one_call(run_data: _RunData, columns: int) -> str:
    """A call and its span next to each other; a call with a tool, if there is one."""
    spans = run_data.wire.spans
    pairs = [(exchange, span) for exchange in run_data.served if (span := show.span_of(spans, exchange))]
    if not pairs:
        left = ("OUTPUT OF THE APP (requests are not available)", run_data.output)
        return show.side_by_side(left, ("SENT TO INFRAPRISM: the first OTLP span", show.span_text(spans[0])), columns)
    exchange, span = next((pair for pair in pairs if b'"tools"' in pair[0].request), pairs[0])
    left = ("REQUEST AND RESPONSE, recorded by the provider", show.exchange_text(exchange))
    return show.side_by_side(left, ("SENT TO INFRAPRISM: the OTLP span", show.span_text(span)), columns)


def _serve(server: Backend) -> None:
    _print_status(
        f"The backend runs until Ctrl-C, which stops it and deletes its data:\n"
        f"  export INFRAPRISM_ENDPOINT={server.endpoint} INFRAPRISM_API_KEY={server.api_key}\n"
        f"  {show.command()} events\n"
        f"  {show.command()} costs --by entity"
    )
    with contextlib.suppress(KeyboardInterrupt):
        status = server.process.wait()
        raise Failure(f"the backend ended with status {status}")


def _next_steps() -> str:
    command = show.command()
    return f"""
Next:
  {command} demo --serve      # keep the backend and query it
  {command} serve             # your own backend; prints your key"""


def _print_status(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _print_line(text: str) -> None:
    sys.stdout.write(text + "\n")
