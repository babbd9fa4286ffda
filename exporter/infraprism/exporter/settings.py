"""The settings of an exporter, checked when it is created.

Keyword arguments win over the environment. Endpoint, key, protocol and certificates have variables of their own
(`INFRAPRISM_*`), since the standard ones configure the application's own telemetry. The connection (certificates,
timeout, headers, compression) is also configured by the standard `OTEL_EXPORTER_OTLP_*`; those for traces win.
Standard certificates and headers are used only if no standard endpoint is set, or if it is our endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from infraprism.schema import settings as environment_settings

Protocol = Literal["http/protobuf", "grpc"]
Compression = Literal["gzip", "none"]

DEFAULT_ENDPOINTS: Final[dict[Protocol, str]] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
TRACES_PATH: Final = "/v1/traces"
MIB: Final = 1 << 20

_PREVIEW: Final = "preview"
_OTEL: Final = ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_")
_OTHER_SIGNALS: Final = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
_LOCAL_HOSTS: Final = frozenset(("localhost", "127.0.0.1", "::1"))
"""On these hosts another port is another service."""
# The standard Python exporter accepts `deflate`, which the OTLP specification does not have. It is replaced by gzip.
_COMPRESSIONS: Final[dict[str, Compression]] = {"gzip": "gzip", "deflate": "gzip", "none": "none"}
_KEY: Final = re.compile(r"[!-~]{1,4096}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")  # valid in gRPC; HTTP allows more
_HEADER_VALUE: Final = re.compile(r"[ -~]*")
_PROTOCOL_HEADERS: Final = frozenset(
    ("host", "content-type", "content-encoding", "content-length", "transfer-encoding", "connection", "user-agent")
)
# OTEL_EXPORTER_OTLP_TIMEOUT is in milliseconds by the specification and in seconds in the Python SDK. Values from here
# on are milliseconds, since no request has a timeout of a thousand seconds.
_MILLISECONDS_FROM: Final = 1000.0


class SettingsError(ValueError):
    """An invalid setting. The message is one line that names the setting and what to do, and never has its value.

    `from_environment`: it is an environment variable, not an argument that the application's code passed.
    """

    def __init__(self, message: str, *, from_environment: bool) -> None:
        super().__init__(message)
        self.from_environment = from_environment


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked settings of an exporter. Made by `read_settings`."""

    protocol: Protocol
    url: str
    """The URL of HTTP requests."""
    target: str
    """The target of gRPC, `host:port`."""
    host: str
    """Host and port, for the log."""
    secure: bool
    """Whether the connection is encrypted."""
    api_key: str | None = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """Names in lower case, without those that the protocol sets."""
    timeout_s: float
    compression: Compression
    certificate_file: str | None
    client_key_file: str | None
    client_certificate_file: str | None
    usage_detail: bool
    preview: bool
    max_queue_events: int
    max_queue_bytes: int
    max_batch_events: int
    max_batch_bytes: int
    max_delay_s: float

    @property
    def can_authenticate(self) -> bool:
        """Whether there is a key or an `authorization` header."""
        return self.api_key is not None or any(name == "authorization" for name, _ in self.headers)

    def request_headers(self) -> dict[str, str]:
        """The configured headers with the key, which overrides an `authorization` header."""
        headers = dict(self.headers)
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        return headers


def read_settings(environment: Mapping[str, str], arguments: Mapping[str, object]) -> Settings:
    """Check the arguments and the environment variables. An argument that is None is not given.

    `arguments` are the keyword arguments of `InfraPrismSpanExporter`. Raises SettingsError for the first invalid
    setting. A missing key is not an error, since a preview needs none.
    """
    source = _Source(environment, arguments)
    protocol, preview = _protocol(source)
    split = _endpoint(source, protocol)
    headers = _headers(source, split)
    secure = split.scheme == "https"
    certificate = _file(source, "certificate_file", "INFRAPRISM_CERTIFICATE", split)
    client_certificate = _file(source, "client_certificate_file", "INFRAPRISM_CLIENT_CERTIFICATE", split)
    # A key belongs to the certificate that is set at the same place.
    is_standard = client_certificate is None or client_certificate.origin.startswith(_OTEL)
    client_key = _file(source, "client_key_file", "INFRAPRISM_CLIENT_KEY", split, use_standard=is_standard)
    if secure:
        _check_certificates(source, certificate, client_key, client_certificate)
    return Settings(
        protocol=protocol,
        url=_url(split),
        target=f"{_host(split)}:{split.port or (443 if secure else 4317)}",
        host=_host(split) + (f":{split.port}" if split.port else ""),
        secure=secure,
        api_key=_api_key(source, preview=preview),
        headers=headers,
        timeout_s=_timeout_s(source),
        compression=_compression(source),
        certificate_file=certificate and certificate.path,
        client_key_file=client_key and client_key.path,
        client_certificate_file=client_certificate and client_certificate.path,
        usage_detail=source.flag("usage_detail", "INFRAPRISM_USAGE_DETAIL", environment_settings.boolean),
        preview=preview,
        max_queue_events=source.integer("max_queue_events", 50_000, least=1),
        max_queue_bytes=source.integer("max_queue_bytes", 32 * MIB, least=64 * 1024),
        max_batch_events=source.integer("max_batch_events", 2048, least=1),
        # The default limit of gRPC servers is 4 MiB. Requests of this size need few round trips.
        max_batch_bytes=MIB,
        max_delay_s=source.seconds("max_delay_s", 1.0, least=0.0),
    )


class _Source:
    """Looks up settings among the arguments and the environment, and names their origin in errors."""

    def __init__(self, environment: Mapping[str, str], arguments: Mapping[str, object]) -> None:
        self._environment = environment
        self._arguments = arguments

    def text(self, name: str, *variables: str) -> tuple[str, str]:
        """The stripped value, empty if it is not set, and the argument or variable that it comes from."""
        found = self._arguments.get(name)
        if found is not None:
            if not isinstance(found, str):
                raise self.error(name, "must be text")
            return found.strip(), name
        for variable in variables:
            if value := self._environment.get(variable, "").strip():
                return value, variable
        return "", variables[0] if variables else name

    def standard(self, name: str, suffix: str) -> tuple[str, str]:
        return self.text(name, *(prefix + suffix for prefix in _OTEL))

    def error(self, name: str, problem: str) -> SettingsError:
        """An error for an argument or a variable. `problem` must not contain the value."""
        return SettingsError(f"{name} {problem}", from_environment=name not in self._arguments)

    def argument(self, name: str) -> Any:
        return self._arguments.get(name)

    def flag(self, name: str, variable: str, read: Callable[[str, Mapping[str, str]], bool]) -> bool:
        found = self.argument(name)
        if found is None:
            try:
                return read(variable, self._environment)
            except environment_settings.UnreadableSettingError as error:
                raise SettingsError(str(error), from_environment=True) from None
        if not isinstance(found, bool):
            raise self.error(name, "must be true or false")
        return found

    def integer(self, name: str, default: int, least: int) -> int:
        found = self.argument(name)
        if found is None:
            return default
        if not isinstance(found, int) or isinstance(found, bool) or found < least:
            raise self.error(name, f"must be an integer, at least {least}")
        return found

    def seconds(self, name: str, default: float, least: float) -> float:
        found = self.argument(name)
        if found is None:
            return default
        if not isinstance(found, int | float) or isinstance(found, bool) or not least <= found <= _MILLISECONDS_FROM:
            raise self.error(name, f"must be a number of seconds from {least:g} to {_MILLISECONDS_FROM:g}")
        return float(found)

    def is_meant_for(self, variable: str, endpoint: SplitResult) -> bool:
        """Whether a standard variable, such as OTEL_EXPORTER_OTLP_CERTIFICATE, is meant for this endpoint.

        It is if no standard endpoint that it belongs to is set, or if one of them is this endpoint.
        """
        traces, general = (self._environment.get(prefix + "ENDPOINT", "").strip() for prefix in _OTEL)
        if variable.startswith(_OTEL[0]):
            owners = [traces or general]
        else:
            signals = (self._environment.get(name, "").strip() for name in _OTHER_SIGNALS)
            owners = [traces, general, *signals]
        found = [owner for owner in owners if owner]
        return not found or any(_is_endpoint(owner, endpoint) for owner in found)


class _File(NamedTuple):
    """A PEM file, and the argument or variable that names it."""

    path: str
    origin: str


def _file(
    source: _Source, name: str, variable: str, endpoint: SplitResult, *, use_standard: bool = True
) -> _File | None:
    path, origin = source.text(name, variable)
    if not path and use_standard and endpoint.scheme == "https":
        path, origin = source.standard(name, variable.removeprefix("INFRAPRISM_"))
        path = path if source.is_meant_for(origin, endpoint) else ""
    if not path:
        return None
    try:
        with open(path, "rb"):  # noqa: PTH123  # pathlib costs an import at the start of every application
            return _File(path, origin)
    except OSError:
        raise source.error(origin, "names a file that cannot be read; give the path of a PEM file") from None


def _protocol(source: _Source) -> tuple[Protocol, bool]:
    word, origin = source.text("protocol", "INFRAPRISM_PROTOCOL")
    preview = source.flag("preview", "INFRAPRISM_PREVIEW", environment_settings.read_boolean) or word == _PREVIEW
    match word:
        case "" | "http/protobuf" | "preview":
            return "http/protobuf", preview
        case "grpc":
            return "grpc", preview
        case _:
            raise source.error(origin, "must be http/protobuf, grpc or preview")


def _endpoint(source: _Source, protocol: Protocol) -> SplitResult:
    text, origin = source.text("endpoint", "INFRAPRISM_ENDPOINT")
    example = f"give a URL such as {DEFAULT_ENDPOINTS[protocol]}"
    try:
        split = urlsplit(text or DEFAULT_ENDPOINTS[protocol])
        host, _ = split.hostname, split.port
        (host or "").encode("idna")
    except ValueError:
        raise source.error(origin, f"is not a URL; {example}") from None
    if split.scheme not in ("http", "https") or not host or re.search(r"[^!-~]", text):
        raise source.error(origin, f"is not an http or https URL; {example}")
    if split.username is not None or split.password is not None:
        raise source.error(origin, "must not hold a user name or password; use INFRAPRISM_API_KEY for the key")
    if split.query or split.fragment:
        raise source.error(origin, f"must end with the path; {example}")
    if protocol == "grpc" and split.path not in ("", "/"):
        raise source.error(origin, f"must have no path, since gRPC has none; {example}")
    return split


def _host(split: SplitResult) -> str:
    host = split.hostname or ""
    return f"[{host}]" if ":" in host else host


def _url(split: SplitResult) -> str:
    path = split.path.rstrip("/")
    if not path.endswith(TRACES_PATH):
        path += TRACES_PATH
    return split._replace(path=path).geturl()


def _api_key(source: _Source, *, preview: bool) -> str | None:
    key, origin = source.text("api_key", "INFRAPRISM_API_KEY")
    if key and not _KEY.fullmatch(key):
        raise source.error(origin, "must be printable ASCII without blanks; copy the key again")
    if key and not preview and not key.startswith(environment_settings.KEY_PREFIX):
        raise source.error(origin, environment_settings.NOT_A_KEY)
    return key or None


def _headers(source: _Source, endpoint: SplitResult) -> tuple[tuple[str, str], ...]:
    headers = source.argument("headers")
    if headers is None:
        return _standard_headers(source, endpoint)
    if not isinstance(headers, Mapping):
        raise source.error("headers", "must be a mapping of names to values")
    checked = {}
    for name, value in headers.items():
        if not _is_header(name, value):
            raise source.error("headers", "must be HTTP header names with printable ASCII values")
        if name.lower() in _PROTOCOL_HEADERS or name.lower().endswith("-bin"):
            raise source.error("headers", f"must not set {name.lower()}, which the protocol sets")
        checked[name.lower()] = value
    return tuple(checked.items())


def _is_header(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and _HEADER_NAME.fullmatch(name) is not None
        and _HEADER_VALUE.fullmatch(value) is not None
    )


def _standard_headers(source: _Source, endpoint: SplitResult) -> tuple[tuple[str, str], ...]:
    """Headers of the standard variables, unless they are meant for another endpoint.

    They often hold the key of the vendor that receives the application's telemetry. That key must not be sent to
    another host.
    """
    text, origin = source.standard("", "HEADERS")
    if not text or not source.is_meant_for(origin, endpoint):
        return ()
    from urllib.parse import unquote  # noqa: PLC0415  # rarely set

    found = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, equals, value = entry.partition("=")
        name, value = unquote(name).strip().lower(), unquote(value).strip()
        if not equals or not _is_header(name, value):
            raise source.error(origin, "must be a list such as name=value,other=value")
        if name not in _PROTOCOL_HEADERS and not name.endswith("-bin"):
            found[name] = value
    return tuple(found.items())


def _is_endpoint(url: str, endpoint: SplitResult) -> bool:
    """Whether a standard endpoint has the host of our endpoint; on the local machine, its port too."""
    try:
        split = urlsplit(url if "://" in url else f"//{url}")
        if split.hostname in _LOCAL_HOSTS and split.port != endpoint.port:
            return False
    except ValueError:
        return False
    return split.hostname == endpoint.hostname


def _timeout_s(source: _Source) -> float:
    if source.argument("timeout_s") is not None:
        return source.seconds("timeout_s", 10.0, least=0.001)
    text, origin = source.standard("", "TIMEOUT")
    try:
        value = float(text or 10)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise source.error(origin, "must be a number of seconds above 0")
    return value / 1000 if value >= _MILLISECONDS_FROM else value


def _compression(source: _Source) -> Compression:
    word, origin = source.standard("compression", "COMPRESSION")
    compression = _COMPRESSIONS.get(word.lower() or "gzip")
    if compression is None:
        raise source.error(origin, "must be gzip or none")
    return compression


def _check_certificates(source: _Source, authority: _File | None, key: _File | None, certificate: _File | None) -> None:
    if not (authority or key or certificate):
        return
    import ssl  # noqa: PLC0415  # only where certificates are set

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        try:
            context.load_verify_locations(authority.path)
        except ssl.SSLError:
            raise source.error(authority.origin, "names a file without certificates; give a PEM file") from None
    if key and not certificate:
        raise source.error(key.origin, "needs a client certificate; set client_certificate_file too")
    if certificate:
        try:
            # Without a password OpenSSL would prompt on the terminal. With an empty one an encrypted key is an error.
            context.load_cert_chain(certificate.path, key and key.path, password="")
        except (ssl.SSLError, ValueError):
            raise source.error(
                certificate.origin, "and its key do not match, or are not PEM files without a password"
            ) from None
