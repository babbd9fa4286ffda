"""OTLP over HTTP with protobuf bodies: sends a request and reads the response."""

from __future__ import annotations

import time
import zlib
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import requests
import urllib3

from infraprism.exporter.export_result import TOO_LARGE, UNREADABLE, ExportResult, read_success
from infraprism.exporter.settings import Settings
from infraprism.schema.distribution import DISTRIBUTION, version

MAX_RESPONSE_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 8 * 1024
_GZIP_LEVEL: Final = 1  # level 9 saves a tenth of the bytes and takes three times the CPU
_GZIP: Final = 16 + zlib.MAX_WBITS
_RETRYABLE: Final = frozenset((408, 425, 429, 502, 503, 504))
_PROXY_REFUSALS: Final = frozenset((403, 407))
_NOT_RETRYABLE: Final = frozenset((501, 505))


class HttpSender:
    """Sends over one keep-alive connection. Follows no redirect: key and events go to the configured endpoint only."""

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
        self._session.auth = _unchanged
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        # Passed with each request, since REQUESTS_CA_BUNDLE would override the value of the session.
        self._verify = settings.certificate_file or True
        if settings.client_certificate_file and settings.client_key_file:
            self._session.cert = (settings.client_certificate_file, settings.client_key_file)
        elif settings.client_certificate_file:
            self._session.cert = settings.client_certificate_file

    def send(self, request: bytes, timeout_s: float) -> ExportResult:
        """Make one attempt. `timeout_s` bounds the connect, each wait for bytes, and reading the response body."""
        deadline = time.monotonic() + timeout_s
        body = _gzip(request) if self._gzip else request
        try:
            with self._session.post(
                self._url, data=body, timeout=timeout_s, verify=self._verify, allow_redirects=False, stream=True
            ) as response:
                return _result(response, deadline)
        except requests.exceptions.SSLError:
            return ExportResult("retry", "tls")
        except (requests.Timeout, TimeoutError):
            return ExportResult("retry", "timeout")
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            return ExportResult("retry", "connection")

    def abort(self) -> None:
        """Do nothing: a blocked socket cannot be woken from another thread. The delivery thread is a daemon."""

    def close(self) -> None:
        """Close the keep-alive connection."""
        self._session.close()


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return compressor.compress(data) + compressor.flush()


def _result(response: requests.Response, deadline: float) -> ExportResult:
    status = response.status_code
    reason = f"http_{status}"
    if 200 <= status < 300:  # noqa: PLR2004  # HTTP status classes
        body = _bounded_body(response, deadline)
        return UNREADABLE if body is None else read_success(body, response.headers.get("content-type", ""))
    if status == requests.codes.request_entity_too_large:
        return TOO_LARGE
    if status in _RETRYABLE:
        # The body is read so that the connection can be reused. Its content is not used.
        _bounded_body(response, deadline)
        return ExportResult("retry", reason, retry_after_s=retry_after_s(response.headers.get("retry-after")))
    if status == requests.codes.proxy_authentication_required or _is_of_proxy(response):
        return ExportResult("retry", f"proxy_{status}", maybe_poison=status not in _PROXY_REFUSALS)
    if status >= 500 and status not in _NOT_RETRYABLE:  # noqa: PLR2004  # as above
        return ExportResult("retry", reason, maybe_poison=True)
    return ExportResult("rejected", "redirect" if 300 <= status < 400 else reason)  # noqa: PLR2004  # as above


def _is_of_proxy(response: requests.Response) -> bool:
    """Whether a client error may be the answer of a proxy and not of the endpoint."""
    if not 400 <= response.status_code < 500 or response.status_code == requests.codes.unauthorized:  # noqa: PLR2004  # as above
        return False
    if any(name.lower() == "via" or name.lower().startswith("proxy-") for name in response.headers):
        return True
    url = response.url
    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) is not None


def _bounded_body(response: requests.Response, deadline: float) -> bytes | None:
    """The body, or None if it is larger or slower than any OTLP response."""
    # `read1` returns what has arrived and does not wait for a full chunk, so a slow body is noticed. Not in urllib3 1.
    read = getattr(response.raw, "read1", response.raw.read)
    body = b""
    while chunk := read(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES or time.monotonic() > deadline:
            return None
    return body


def retry_after_s(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number or a date; None if it is absent or invalid."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
