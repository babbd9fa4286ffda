"""The commands and configurations of docs/collector.md work."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.collector.conftest import CALL, QUICK
from tests.kit.collector import CONFIG, ROOT, Collector, Config, eventually, load
from tests.kit.otlp_canaries import CANARY, PROMPT, export_request, span
from tests.kit.otlp_sink import OtlpSink, Reply

PAGE = (ROOT / "docs" / "collector.md").read_text(encoding="utf-8")
_RECEIVER: Config = {"otlp": {"protocols": {"http": {}, "grpc": {}}}}


def _example(name: str) -> list[Any]:
    """The YAML documents of an example."""
    found = re.search(rf"<!-- test: {re.escape(name)} -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"docs/collector.md has no example {name!r}"
    return list(yaml.safe_load_all(found[1]))


def _existing(own: OtlpSink) -> Config:
    """A user's own configuration: everything to the user's own backend, without a queue."""
    exporter = {"endpoint": own.endpoint, "retry_on_failure": {"enabled": False}, "sending_queue": {"enabled": False}}
    return {
        "receivers": _RECEIVER,
        "extensions": {"health_check": {"endpoint": "${env:INFRAPRISM_HEALTH_ENDPOINT}"}},
        "exporters": {"otlp_http/own": exporter},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_http/own"]}},
        },
    }


def test_a_copy_for_infraprism_leaves_an_existing_pipeline_as_it_is(tmp_path: Path) -> None:
    (snippet,) = _example("existing collector")
    with (
        OtlpSink() as own,
        OtlpSink() as sink,
        Collector(tmp_path / "second", sink.endpoint, overlay=QUICK) as second,
    ):
        snippet["exporters"]["otlp_grpc/infraprism_copy"]["sending_queue"]["queue_size"] = 1
        first = Collector(tmp_path / "first", "", _existing(own), snippet)
        first.environment["INFRAPRISM_COLLECTOR"] = f"localhost:{second.grpc_port}"
        with first:
            sent = [span({**CALL, "gen_ai.input.messages": PROMPT}), span({"http.route": "/"})]
            assert first.send(export_request(sent))[0]
            assert eventually(lambda: len(sink.spans()) == 1)
            assert CANARY.encode() not in sink.seen()
            second.stop()
            for _ in range(10):  # the queue of the copies is full at once
                sent.append(span(CALL))
                assert first.send(export_request(sent[-1:]))[0]
                time.sleep(0.3)
            for one in sent:
                one.status.SetInParent()
            assert own.spans() == sent
            assert eventually(lambda: first.metric("otelcol_exporter_enqueue_failed_spans") > 0)


def test_agents_and_a_gateway_with_the_same_file_deliver_what_one_collector_does(tmp_path: Path) -> None:
    with (
        OtlpSink() as sink,
        Collector(tmp_path / "gateway", sink.endpoint, overlay=QUICK) as gateway,
        Collector(tmp_path / "agent", f"http://localhost:{gateway.http_port}", overlay=QUICK) as agent,
    ):
        request = export_request(
            [span({**CALL, "gen_ai.input.messages": PROMPT, "error.type": "openai.APITimeoutError"})]
        )
        assert agent.send(request)[0]
        assert gateway.send(request)[0]
        assert eventually(lambda: len(sink.spans()) == 2)
        one, other = sink.spans()
        assert sorted(map(str, one.attributes)) == sorted(map(str, other.attributes))
        assert one.span_id == other.span_id


def test_the_kubernetes_example_fits_the_configuration() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    manifests = _example("kubernetes")
    assert [manifest["kind"] for manifest in manifests] == ["DaemonSet", "StatefulSet", "Service"]
    *workloads, service = manifests
    for workload in workloads:
        pod = workload["spec"]["template"]
        assert pod["metadata"]["labels"] == workload["spec"]["selector"]["matchLabels"]
        (container,) = pod["spec"]["containers"]
        assert container["args"] == [f"--config=/etc/infraprism/{CONFIG.name}"]
        assert container["readinessProbe"]["httpGet"]["port"] == 13133
        variables = {variable["name"] for variable in container["env"]} - {"GOMEMLIMIT"}
        assert variables == {"INFRAPRISM_ENDPOINT", "INFRAPRISM_API_KEY"}
        for port in container["ports"]:
            assert f"0.0.0.0:{port['containerPort']}" in text
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert f":-{mounts['queue']}}}" in text
        claims = workload["spec"].get("volumeClaimTemplates", ())
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {
            claim["metadata"]["name"] for claim in claims
        }
        assert volumes == set(mounts)
    assert service["spec"]["selector"] == manifests[1]["spec"]["selector"]["matchLabels"]
    assert "infraprism-gateway:4318" in str(manifests[0])


@pytest.mark.parametrize("side", ["to kafka", "from kafka"])
def test_the_kafka_examples_start(tmp_path: Path, side: str) -> None:
    (example,) = _example(side)
    if not os.environ.get("OTELCOL"):
        example = _with_otlp_for_kafka(example)
    with OtlpSink() as sink:
        sink.answer_by(lambda *_: Reply(status=503))
        collector = Collector(tmp_path, sink.endpoint, overlay=example)
        collector.environment["KAFKA_BROKERS"] = f"localhost:{sink.port}"
        with collector:
            assert "Everything is ready" in collector.log()


def _with_otlp_for_kafka(example: Config) -> Config:
    """The example with what our own build has in place of Kafka's components, to try the wiring and the queue."""
    if "receivers" in example:
        return yaml.safe_load(  # type: ignore[no-any-return]
            yaml.safe_dump({"receivers": {"otlp/kafka": {"protocols": {"http": {"endpoint": "localhost:0"}}}}})
            + yaml.safe_dump({"service": example["service"]}).replace("kafka/infraprism", "otlp/kafka")
        )
    kafka = example["exporters"]["kafka/infraprism"]
    shared = {name: kafka[name] for name in ("sending_queue", "retry_on_failure")}
    batch, producer = kafka["sending_queue"]["batch"], kafka["producer"]
    assert batch["sizer"] == "bytes"
    assert batch["max_size"] < producer["max_message_bytes"]
    assert producer["required_acks"] == -1
    exporter = {"endpoint": "http://localhost:1", **shared}
    pipeline = {"exporters": ["otlp_http/kafka"]}
    return {
        "exporters": {"otlp_http/kafka": exporter},
        "service": {"pipelines": {"traces/infraprism": pipeline}},
    }


def test_the_page_names_the_version_that_is_tested() -> None:
    version = re.search(r"^  version: (\S+)", (ROOT / "collector" / "manifest.yaml").read_text(), re.MULTILINE)
    assert version
    assert set(re.findall(r"collector-contrib:(\d+\.\d+\.\d+)|version (\d+\.\d+\.\d+)", PAGE)) == {
        (version[1], ""),
        ("", version[1]),
    }
    assert load()["processors"]


def test_the_counters_that_the_page_names_exist(tmp_path: Path) -> None:
    with OtlpSink() as sink, Collector(tmp_path, sink.endpoint, overlay=QUICK) as collector:
        sink.answer_with(Reply(status=401))
        collector.send(export_request([span(CALL), span({"no": "call"})]))
        sink.wait_for(1)
        collector.send(export_request([span(CALL)]))
        sink.wait_for(2)
        # This one appears when the queue is full: another test fills it.
        names = set(re.findall(r"otelcol_[a-z_]+", PAGE)) - {"otelcol_exporter_enqueue_failed_spans"}
        assert len(names) >= 7
        assert eventually(lambda: names <= collector.metrics(), 10), names - collector.metrics()


def test_the_command_that_proves_it_runs_the_collectors_tests_in_their_own_environment_and_no_others() -> None:
    command = re.search(r"## Prove it to yourself\n\n```sh\n.*(make [^\n]+)\n```", PAGE)
    assert command
    planned = subprocess.run([*command[1].split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=True)
    tested = [line for line in planned.stdout.splitlines() if "/pytest " in line]
    assert len(tested) == 1
    assert tested[0].startswith(".venv/bin/pytest ")
    assert tested[0].split()[-1] == "tests/collector"
