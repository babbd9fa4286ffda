from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

import openai
import pytest
from tests.kit.provider import CANARY, OPENAI_KEY

from infraprism.local_provider import LocalProvider

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
HEADERS = {"Authorization": f"Bearer {OPENAI_KEY}", "Content-Type": "application/json"}


@pytest.fixture
def connection(provider: LocalProvider) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=10)
    yield opened
    opened.close()


def post(
    connection: http.client.HTTPConnection, body: bytes, path: str = "/v1/chat/completions"
) -> http.client.HTTPResponse:
    connection.request("POST", path, body, HEADERS)
    return connection.getresponse()


def test_one_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    ids = set()
    for _ in range(3):
        response = post(connection, json.dumps(CHAT).encode())
        assert response.status == 200
        ids.add(json.loads(response.read())["id"])
    assert len(ids) == 3


def test_a_stream_is_chunked_and_ends_with_done(connection: http.client.HTTPConnection) -> None:
    response = post(connection, json.dumps(CHAT | {"stream": True}).encode())
    assert response.getheader("Transfer-Encoding") == "chunked"
    assert response.getheader("Content-Type") == "text/event-stream; charset=utf-8"
    assert response.read().endswith(b"data: [DONE]\n\n")


def test_a_chunked_request_is_parsed(connection: http.client.HTTPConnection) -> None:
    body = json.dumps(CHAT).encode()
    connection.request("POST", "/v1/chat/completions", iter([body[:9], body[9:]]), HEADERS, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200
    response.read()


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (b"{", "/v1/chat/completions", 400),
        (b"[]", "/v1/chat/completions", 400),
        (b'{"model": "gpt-4o"}', "/v1/chat/completions", 400),
        (b"{}", "/v1/unknown", 404),
    ],
)
def test_an_invalid_request_gets_an_error_response_of_the_provider(
    connection: http.client.HTTPConnection, body: bytes, path: str, status: int
) -> None:
    response = post(connection, body, path)
    assert response.status == status
    assert json.loads(response.read())["error"]["type"] == "invalid_request_error"


def test_a_request_without_an_api_key_is_rejected(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/v1/chat/completions", json.dumps(CHAT), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 401


@pytest.mark.parametrize("streamed", [False, True])
def test_with_gzip_responses_are_compressed_for_clients_that_accept_it(streamed: bool) -> None:
    with (
        LocalProvider(gzip=True) as compressing,
        openai.OpenAI(base_url=compressing.openai_base_url, api_key=OPENAI_KEY) as client,
    ):
        raw = client.chat.completions.with_raw_response.create(**CHAT, stream=streamed)  # type: ignore[call-overload]
        assert raw.headers["content-encoding"] == "gzip"
        parsed = raw.parse()
        text = (
            "".join(chunk.choices[0].delta.content or "" for chunk in parsed)
            if streamed
            else parsed.choices[0].message.content
        )
        assert "Hello" in text


def test_the_canary_is_in_every_response(provider: LocalProvider, chat: openai.OpenAI) -> None:
    chat.chat.completions.create(**CHAT)  # type: ignore[call-overload]
    chat.responses.create(model="gpt-4o", input="Hello")
    assert all(CANARY.encode() in exchange.response for exchange in provider.exchanges)


def test_the_number_of_chunks_can_be_set(chat: openai.OpenAI) -> None:
    chunks = list(chat.chat.completions.create(**CHAT | {"model": "gpt-4o-chunks99"}, stream=True))  # type: ignore[call-overload]
    assert len(chunks) == 99 + 2


def test_concurrent_requests_get_their_own_responses(provider: LocalProvider, chat: openai.OpenAI) -> None:
    contents: dict[int, str] = {}

    def ask(number: int) -> None:
        messages: list[dict[str, str]] = [{"role": "user", "content": f"Question {number}"}]
        completion = chat.chat.completions.create(model="gpt-4o", messages=messages)  # type: ignore[arg-type]
        contents[number] = completion.choices[0].message.content or ""

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(provider.calls) == 24
    assert all(f'"Question {number}"' in text for number, text in contents.items())
    assert len(contents) == 24


def test_closing_the_server_closes_open_connections() -> None:
    with LocalProvider() as local:
        opened = http.client.HTTPConnection("127.0.0.1", local.port, timeout=10)
        assert post(opened, json.dumps(CHAT).encode()).read()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        post(opened, json.dumps(CHAT).encode())
    opened.close()


def test_the_command_prints_a_billing_record_per_line() -> None:
    command = [sys.executable, "-m", "infraprism.local_provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert server.stdout is not None
        url = server.stderr.readline().split()[1].removeprefix("OPENAI_BASE_URL=")
        with openai.OpenAI(base_url=url, api_key=OPENAI_KEY) as client:
            completion = client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
        record = json.loads(server.stdout.readline())
        server.terminate()
    assert record["response_id"] == completion.id
    assert record["usage"]["input_tokens"] == completion.usage.prompt_tokens


def test_a_port_in_use_is_one_line_and_status_1(provider: LocalProvider) -> None:
    command = [sys.executable, "-m", "infraprism.local_provider", "--port", str(provider.port)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 1
    assert len(ran.stderr.strip().splitlines()) == 1
