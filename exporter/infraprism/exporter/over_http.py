"""OTLP over HTTP with protobuf bodies."""

from __future__ import annotations

import time
import zlib
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import requests
import urllib3

from infraprism.exporter.export_result import TOO_LARGE, UNREADABLE, Answer, read_success
from infraprism.exporter.settings import Settings
from infraprism.schema.distribution import DISTRIBUTION, version

LARGEST_ANSWER_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 8 * 1024
_GZIP_LEVEL: Final = 1  # level 9 saves a tenth of the bytes and takes three times as long
_GZIP: Final = 16 + zlib.MAX_WBITS
_PATIENT: Final = frozenset((408, 425, 429, 502, 503, 504))
_FOR_GOOD: Final = frozenset((501, 505))


class HttpSender:
    """Sends over one kept-alive connection. Follows no redirect: a key and events go to the set endpoint only."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url
        self._gzip = settings.compression == "gzip"
        self._session = requests.Session()
        self._session.headers.clear()
        self._session.headers.update(
            {
                **settings.request_headers(),
                "content-type": "application/x-protobuf",
                "accept-encoding": "identity",
                "user-agent": f"{DISTRIBUTION}/{version()}",
            }
        )
        if self._gzip:
            self._session.headers["content-encoding"] = "gzip"
        # Without it, requests looks for the host in ~/.netrc and overwrites our key with what it finds.
        self._session.auth = _as_it_is
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        # Given with each request, since REQUESTS_CA_BUNDLE would win over the session's.
        self._verify = settings.certificate_file or True
        if settings.client_certificate_file and settings.client_key_file:
            self._session.cert = (settings.client_certificate_file, settings.client_key_file)
        elif settings.client_certificate_file:
            self._session.cert = settings.client_certificate_file

    def send(self, request: bytes, timeout_s: float) -> Answer:
        """One attempt; `timeout_s` bounds the connect, each wait for bytes, and the whole of the answer's body."""
        deadline = time.monotonic() + timeout_s
        body = _gzip(request) if self._gzip else request
        try:
            with self._session.post(
                self._url, data=body, timeout=timeout_s, verify=self._verify, allow_redirects=False, stream=True
            ) as response:
                return _answer(response, deadline)
        except requests.exceptions.SSLError:
            return Answer("later", "tls")
        except (requests.Timeout, TimeoutError):
            return Answer("later", "timeout")
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            return Answer("later", "connection")

    def abort(self) -> None:
        """A blocked socket cannot be woken from here; the delivering thread is a daemon, and is left to itself."""

    def close(self) -> None:
        """Close the kept-alive connection."""
        self._session.close()


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return compressor.compress(data) + compressor.flush()


def _answer(response: requests.Response, deadline: float) -> Answer:
    status = response.status_code
    reason = f"http_{status}"
    if 200 <= status < 300:  # noqa: PLR2004  # the classes of HTTP statuses
        body = _bounded_body(response, deadline)
        return UNREADABLE if body is None else read_success(body, response.headers.get("content-type", ""))
    if status == requests.codes.request_entity_too_large:
        return TOO_LARGE
    if status in _PATIENT:
        # The body is read so that the connection can be used again; what it says does not matter.
        _bounded_body(response, deadline)
        return Answer("later", reason, retry_after_s=retry_after_s(response.headers.get("retry-after")))
    if status >= 500 and status not in _FOR_GOOD:  # noqa: PLR2004  # as above
        return Answer("later", reason, maybe_poison=True)
    return Answer("refused", "redirect" if 300 <= status < 400 else reason)  # noqa: PLR2004  # as above


def _bounded_body(response: requests.Response, deadline: float) -> bytes | None:
    """The body, or None if it is longer or slower than any OTLP answer."""
    # What has arrived, and not what would fill the chunk, so that a dripping answer is noticed; urllib3 1 cannot do it.
    read = getattr(response.raw, "read1", response.raw.read)
    body = b""
    while chunk := read(_CHUNK_BYTES):
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES or time.monotonic() > deadline:
            return None
    return body


def retry_after_s(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, which may be a number or a date; None where it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
