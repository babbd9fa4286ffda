"""Client of the REST API of the backend, with exact decimals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import Any, Final

import requests

from infraprism.cli.failure import Failure
from infraprism.cli.filters import OPTIONS
from infraprism.schema import exact_json
from infraprism.schema.settings import KEY_PREFIX, NOT_A_KEY

DEFAULT_ENDPOINT: Final = "http://localhost:4318"
PAGE: Final = 1000
TIMEOUT_S: Final = 10.0
"""For a whole request, from the connection to the last byte of the response."""
_OK: Final = 200
_SUCCESS: Final = range(200, 300)
_NOT_FOUND: Final = 404
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_UNAVAILABLE: Final = 503


class ForbiddenFailure(Failure):
    """The key is valid and lacks the scope that the request needs."""


class NotFoundFailure(Failure):
    """The backend has no such object."""


class Api:
    """Reads from one backend, and sends requests to it.

    Endpoint and key default to INFRAPRISM_ENDPOINT and INFRAPRISM_API_KEY. Every method raises Failure. Its message
    contains neither the key nor a text of the backend, except the message of its error response.
    """

    def __init__(self, endpoint: str | None = None, api_key: str | None = None) -> None:
        url = endpoint or os.environ.get("INFRAPRISM_ENDPOINT", "").strip() or DEFAULT_ENDPOINT
        self.endpoint = url.rstrip("/").removesuffix("/v1/traces")
        self._key = (api_key or os.environ.get("INFRAPRISM_API_KEY", "")).strip()
        self._session = requests.Session()

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> Any:
        """The parsed JSON of `path`; numbers with a decimal point are Decimal."""
        return self._answer("GET", path, parameters, None, {})

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request with a JSON body, and return the parsed JSON of the response, as `get` does."""
        return self._answer(method, path, None, body, headers or {})

    def download(self, link: str, headers: Mapping[str, str]) -> requests.Response:
        """The response of a download link, whose body is not read yet. The key is not sent.

        Raises requests.RequestException.
        """
        url = self.endpoint + link if link.startswith("/") else link
        # The encoding of the file itself must not change: its checksum is verified.
        sent = {"Accept-Encoding": "identity", **headers}
        return self._session.get(url, headers=sent, stream=True, timeout=TIMEOUT_S, allow_redirects=False)

    def _answer(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> Any:
        if not self._key:
            raise Failure("set INFRAPRISM_API_KEY to the key of your account; `infraprism serve` prints it")
        if not self._key.startswith(KEY_PREFIX):
            raise Failure(f"INFRAPRISM_API_KEY {NOT_A_KEY}")
        sent = {**headers, "Authorization": f"Bearer {self._key}"}
        response = self._response(path, parameters, sent, method, body)
        is_success = response.status_code in _SUCCESS
        if response.status_code == _UNAUTHORIZED:
            raise Failure(f"{self.endpoint} rejects the key: check INFRAPRISM_API_KEY")
        reason = "" if is_success else _reason(response)
        if response.status_code == _BAD_REQUEST and reason:
            raise Failure(_with_options(reason))
        if response.status_code == _FORBIDDEN:
            raise ForbiddenFailure(f"{self.endpoint} refuses the request{reason and f': {reason}'}")
        if response.status_code == _NOT_FOUND:
            raise NotFoundFailure(f"{self.endpoint} responds with 404{reason and f': {reason}'}")
        if not is_success:
            raise Failure(f"{self.endpoint} responds with {response.status_code}{reason and f': {reason}'}")
        return _decoded(response, self.endpoint)

    def readiness(self) -> Mapping[str, Any]:
        """What `/readyz` reports. Needs no key. Raises Failure."""
        response = self._response("/readyz", None, {})
        body = _decoded(response, self.endpoint)
        if response.status_code not in (_OK, _UNAVAILABLE) or not isinstance(body, dict):
            raise Failure(f"{self.endpoint} is not an InfraPrism backend: check INFRAPRISM_ENDPOINT")
        return body

    def all_events(self, parameters: Mapping[str, str | int]) -> Iterator[dict[str, Any]]:
        """Every event, newest first, page by page."""
        query: dict[str, str | int] = {"limit": PAGE, **parameters}
        while True:
            page = self.get("/v1/events", query)
            yield from page["data"]
            cursor = page["pagination"].get("next_cursor")
            if not cursor:
                return
            query["cursor"] = cursor

    def _response(
        self,
        path: str,
        parameters: Mapping[str, str | int] | None,
        headers: Mapping[str, str],
        method: str = "GET",
        body: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        try:
            return self._within_the_time(
                partial(
                    self._session.request,
                    method,
                    self.endpoint + path,
                    params=parameters,
                    json=body,
                    headers=headers,
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                )
            )
        except requests.exceptions.Timeout:
            raise Failure(
                f"{self.endpoint} did not respond within {TIMEOUT_S:.0f} seconds: check INFRAPRISM_ENDPOINT"
            ) from None
        except requests.exceptions.ConnectionError:
            raise Failure(
                f"nothing listens at {self.endpoint}: start `infraprism serve`, or set INFRAPRISM_ENDPOINT"
            ) from None
        except (requests.exceptions.RequestException, ValueError):
            raise Failure("INFRAPRISM_ENDPOINT is not a URL such as http://localhost:4318") from None

    @staticmethod
    def _within_the_time(send: Callable[[], requests.Response]) -> requests.Response:
        """The response to a request. The timeouts of `requests` are those of single reads, not of the whole request."""
        done: Future[requests.Response] = Future()

        def run() -> None:
            try:
                done.set_result(send())
            except BaseException as error:  # noqa: BLE001  # it is raised by the caller
                done.set_exception(error)

        # A daemon thread, so that a request that hangs does not keep the process.
        Thread(target=run, daemon=True).start()
        try:
            return done.result(TIMEOUT_S)
        except TimeoutError:
            raise requests.exceptions.Timeout from None


def _decoded(response: requests.Response, endpoint: str) -> Any:
    try:
        return exact_json.loads(response.content)
    except ValueError:
        raise Failure(f"{endpoint} is not an InfraPrism backend: check INFRAPRISM_ENDPOINT") from None


def _reason(response: requests.Response) -> str:
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return " ".join(message.split()) if isinstance(message, str) else ""


def _with_options(message: str) -> str:
    """The message of an error response with the options of the command instead of the parameters."""
    name, colon, rest = message.partition(": ")
    if not colon or name not in OPTIONS:
        return message
    return f"{OPTIONS[name]}: {rest.replace('start_date', '--start').replace('end_date', '--end')}"
