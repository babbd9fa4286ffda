"""The course of the demo, and what it prints."""

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

from infraprism.cli import exact_json
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.costs import costs_table
from infraprism.cli.demo import check, show
from infraprism.cli.demo.backend import Backend, backend
from infraprism.cli.demo.example import NAME, example_app
from infraprism.cli.demo.processes import ended_by_terminate, run_app
from infraprism.cli.demo.wire import Wire
from infraprism.cli.events import events_table
from infraprism.cli.failure import Failure
from infraprism.cli.preview import instrument_command
from infraprism.cli.table import terminal_width
from infraprism.local_provider import Exchange, LocalProvider

_EXAMPLES: Final = f"""\
Starts the backend and a local stand-in for OpenAI and Anthropic on free ports of this machine, runs the unmodified app
{NAME} under opentelemetry-instrument, and prints what arrived. Then it checks that the events are the calls that the
provider served, to the token, and that no text of a request or an answer left; if not, it ends with status 1.

examples:
  infraprism demo
  infraprism demo --serve              keep the backend up afterwards
  infraprism demo --json               only the events, a line of JSON each
  OPENAI_API_KEY=sk-... infraprism demo --real"""
_STORED_S: Final = 20.0
_POLL_S: Final = 0.1
_APP_S: Final = 300.0
_LOCAL_MODELS: Final = {"SUPPORT_URGENT_MODEL": "gpt-4.1-mini-err429"}
_NOT_OURS: Final = ("OTEL_", "INFRAPRISM_")
_VENDORS: Final = ("OPENAI_", "ANTHROPIC_", "AZURE_OPENAI_", "SUPPORT_")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Describe the command."""
    parser = new_parser(subparsers, "demo", "see it work, in a minute and without a key", _EXAMPLES)
    parser.add_argument(
        "--real", action="store_true", help="call the real providers with OPENAI_API_KEY and ANTHROPIC_API_KEY"
    )
    parser.add_argument("--serve", action="store_true", help="keep the backend up until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print nothing but the events, as JSON lines")
    parser.add_argument("--port", type=int, help="the backend's port (default: a free one)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the demo; raises Failure where anything is not as it should be."""
    ended_by_terminate()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(
        filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost"))
    )
    app = example_app()
    if args.real and not _has_key():
        raise Failure("--real needs OPENAI_API_KEY or ANTHROPIC_API_KEY")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infraprism-demo-")))
        _say("Starting the backend ...")
        server = stack.enter_context(backend(folder, args.port))
        provider = None if args.real else stack.enter_context(LocalProvider())
        wire = stack.enter_context(Wire(server.port))
        _say(f"Running `opentelemetry-instrument python {NAME}` ...")
        keys = _keys(provider)
        output = _run_app(app, _environment(provider, keys) | _ours(wire, server), folder)
        exchanges = provider.exchanges if provider else []
        served = check.calls(exchanges)
        events = _stored(server, len(served) if provider else len(wire.spans))
        seen = _Seen(wire, exchanges, served, events, output, tuple(keys.values()))
        try:
            if args.json:
                sys.stdout.writelines(exact_json.dumps(event) + "\n" for event in events)
            else:
                _print(server, seen)
            sys.stdout.flush()
        finally:
            # Also where nobody reads the output to its end: the exit status is that of the check.
            _say(_checked(seen))
        if args.serve:
            _keep_up(server)
    return 0


@dataclass(frozen=True)
class _Seen:
    """All that there is to show and to check. Without a local provider nothing is known of requests."""

    wire: Wire
    exchanges: Sequence[Exchange]
    served: Sequence[Exchange]
    events: Sequence[Mapping[str, Any]]
    output: str
    keys: tuple[str, ...]


def _has_key() -> bool:
    return bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("ANTHROPIC_API_KEY"))


def _keys(provider: LocalProvider | None) -> dict[str, str]:
    """The vendors' keys: made up for the local provider, which takes any."""
    if provider is None:
        return {name: os.environ[name] for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY") if os.environ.get(name)}
    made_up = secrets.token_hex(16)
    return {"OPENAI_API_KEY": f"sk-proj-{made_up}", "ANTHROPIC_API_KEY": f"sk-ant-api03-{made_up}"}


def _environment(provider: LocalProvider | None, keys: Mapping[str, str]) -> dict[str, str]:
    """The app's environment: the vendors' own variables lead to the local provider, where there is one."""
    dropped = _NOT_OURS if provider is None else (*_NOT_OURS, *_VENDORS)
    found = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    if provider is None:
        return found
    urls = {"OPENAI_BASE_URL": provider.openai_base_url, "ANTHROPIC_BASE_URL": provider.anthropic_base_url}
    return found | urls | dict(keys) | _LOCAL_MODELS


def _ours(wire: Wire, server: Backend) -> dict[str, str]:
    """All the configuration that the app needs for InfraPrism."""
    return {"INFRAPRISM_ENDPOINT": wire.endpoint, "INFRAPRISM_API_KEY": server.api_key}


def _run_app(app: Path, environment: Mapping[str, str], folder: Path) -> str:
    return run_app([instrument_command(), sys.executable, app], environment, folder / "app.log", _APP_S)


def _checked(seen: _Seen) -> str:
    """Hold what arrived and what left against the truth; what was found, in a sentence. Raises Failure."""
    if not seen.events:
        raise Failure("the app ran, but no event arrived: run `infraprism doctor`")
    content = check.contents(seen.exchanges, *seen.keys)
    if seen.exchanges:
        check.check_counts(seen.served, seen.events)
    else:
        content.update(line for line in seen.output.splitlines() if line)
    check.check_no_content(seen.wire.bodies, content)
    check.check_closed(seen.wire.spans)
    nothing_left = f"no part of {len(content)} texts that only the app should know left it."
    if not seen.exchanges:
        return f"Checked: {len(seen.events)} events; {nothing_left}"
    return (
        f"Checked: {len(seen.exchanges)} requests were {len(seen.served)} calls and are {len(seen.events)} events; "
        f"every token count is the provider's; {nothing_left}"
    )


def _stored(server: Backend, expected: int) -> list[dict[str, Any]]:
    """The events that the backend has, once there are as many as expected, or no more come; oldest first."""
    api = server.api()
    until = time.monotonic() + _STORED_S
    while True:
        events = list(api.all_events({}))
        if len(events) >= expected or time.monotonic() > until:
            return events[::-1]
        time.sleep(_POLL_S)


def _print(server: Backend, seen: _Seen) -> None:
    costs = server.api().get("/v1/analytics/costs", {"group_by": "entity"})
    _out(show.heading("The events that are stored"))
    _out(events_table(seen.events, terminal_width()))
    _out(show.heading("Cost per customer"))
    _out(costs_table(costs, "entity", terminal_width()))
    _out(show.heading("One call: what the app sent and got, and all that left"))
    _out(_one_call(seen, show.width()))


def _one_call(seen: _Seen, columns: int) -> str:
    """The call with the most to hide that has an event: one with a tool, if there is one."""
    spans = seen.wire.spans
    pairs = [(exchange, span) for exchange in seen.served if (span := show.span_of(spans, exchange))]
    if not pairs:
        left = ("WHAT THE APP PRINTED (only the app has the rest)", seen.output)
        return show.side_by_side(left, ("ALL THAT LEFT: the first OTLP span", show.span_text(spans[0])), columns)
    exchange, span = next((pair for pair in pairs if b'"tools"' in pair[0].request), pairs[0])
    left = ("WHAT THE APP SENT AND GOT, by the provider's own log", show.exchange_text(exchange))
    return show.side_by_side(left, ("ALL THAT LEFT: the OTLP span", show.span_text(span)), columns)


def _keep_up(server: Backend) -> None:
    _say(
        f"The backend stays up until Ctrl-C, which stops it and deletes its data:\n"
        f"  export INFRAPRISM_ENDPOINT={server.endpoint} INFRAPRISM_API_KEY={server.api_key}\n"
        f"  infraprism events"
    )
    with contextlib.suppress(KeyboardInterrupt):
        status = server.process.wait()
        raise Failure(f"the backend ended by itself with status {status}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")
