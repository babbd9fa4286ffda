"""Instrument the client packages made by one generator: openai, anthropic and many others.

All their calls go through `request` of two base classes in the package's `_base_client`. Only those two methods are
replaced, so every public method keeps its identity, signature and docstring, and existing clients are instrumented too.
Of a request, only its path and the fields `model` and `stream` are read.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import Token
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, wraps
from time import time_ns
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from wrapt import FunctionWrapper

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation import response_body, stream_usage, streams
from infraprism.instrumentation.background import StoredResponseSpan
from infraprism.instrumentation.llm_call import LLMCall, record_internal_error
from infraprism.instrumentation.patching import WRAPPED, Function, Patch, Patches, Switch
from infraprism.instrumentation.tracing import CallTracer
from infraprism.instrumentation.usage_reader import Attribute, Operation, get_field, repeated_identifier
from infraprism.schema.call_context import call_in_progress

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_MAX_CACHED_CLIENTS: Final = 256
"""Bounds the cache of attributes per client: an application may create a client for every call."""


@dataclass(frozen=True, eq=False, repr=False)
class ClientPackage:
    """One client package, as data.

    `name` is the name of its distribution and module, `oldest` the oldest supported version. `operations` are the
    billed calls by the end of their path. `provider` is the `gen_ai.provider.name` of its clients, except those
    with a class or a provider runtime that is named in `other_providers`. `stored_response` returns the operation of
    a request, by method and path, that returns the response of an earlier request. `not_observed` names the billed
    requests that have no event.
    """

    name: str
    oldest: tuple[int, ...]
    provider: str
    operations: Mapping[str, Operation]
    other_providers: Mapping[str, str] = field(default_factory=dict)
    stored_response: Callable[[str, str], Operation | None] | None = None
    not_observed: tuple[str, ...] = ()

    @property
    def base_module(self) -> str:
        """The module with the base classes. Importing the package imports it."""
        return f"{self.name}._base_client"

    def operation(self, method: str, url: str) -> Operation | None:
        """The billed operation of a request, or None."""
        if method.lower() != "post":
            return None
        exact = self.operations.get(url)
        if exact is not None:
            return exact
        path = url.partition("?")[0].rstrip("/")
        return next((found for end, found in self.operations.items() if path.endswith(end)), None)

    def provider_of(self, client: object) -> str:
        """The provider of a client, by its class and its provider runtime."""
        runtime = get_field(get_field(client, "_provider_runtime"), "name")
        for name in (runtime, *(kind.__name__ for kind in type(client).__mro__)):
            if name in self.other_providers:
                return self.other_providers[name]
        return self.provider

    def patches(self, base: Any, tracer: CallTracer) -> Patches:
        """The patches of the package's `base_module`. Imports nothing, since the package may be partly imported.

        Raises AttributeError, KeyError or TypeError if the structure of the package is unknown.
        """
        instrumentation = _RequestInstrumentation(self, tracer)
        replacements = (
            (base.SyncAPIClient, instrumentation.sync_request),
            (base.AsyncAPIClient, instrumentation.async_request),
        )
        patches: list[Patch] = []
        for client, replacement in replacements:
            _check_signature(vars(client)["request"])
            patches.append(Patch(client, "request", replacement))
            patches += [Patch(wrapper, WRAPPED, replacement) for wrapper in _existing_wrappers(client)]
        return Patches(patches)


def _check_signature(request: object) -> None:
    """Raise TypeError if this is not a method with the parameter `options`, which the instrumentation reads."""
    if not callable(request) or isinstance(request, staticmethod | classmethod):
        raise TypeError("request is no method")
    parameters = inspect.signature(request).parameters
    if "options" not in parameters and all(p.kind is not p.VAR_POSITIONAL for p in parameters.values()):
        raise TypeError("request takes no options")


def _existing_wrappers(client: type[Any]) -> list[Any]:
    """The `wrapt` wrappers that other instrumentations, such as OpenInference, put on `request` of subclasses.

    Such a wrapper calls the original method that it found, so a patch of the base class alone would have no effect. The
    wrapper may return other classes than the package does, so our replacement goes below it.
    """
    original = vars(client)["request"]
    methods = (vars(subclass).get("request") for subclass in _subclasses(client))
    return [wrapper for method in methods if (wrapper := _innermost_wrapper(method, original)) is not None]


def _subclasses(client: type[Any]) -> Iterator[type[Any]]:
    for subclass in client.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _innermost_wrapper(method: Any, original: Function) -> Any:
    while issubclass(type(method), FunctionWrapper):  # not `isinstance`: the wrapper's `__class__` is a function
        if method.__wrapped__ is original:
            return method
        method = method.__wrapped__
    return None


class _ResultClasses(NamedTuple):
    """The classes by which the result of a request is recognised."""

    streams: tuple[type, ...]
    wrappers: tuple[type, ...]

    @classmethod
    def of_package(cls, name: str) -> _ResultClasses:
        """Those of a package that has made its first request, so that its relevant modules are imported."""
        return cls(
            _imported_classes(f"{name}._streaming", "Stream", "AsyncStream"),
            _imported_classes(f"{name}._response", "BaseAPIResponse")
            + _imported_classes(f"{name}._legacy_response", "LegacyAPIResponse"),
        )

    @staticmethod
    def responses() -> tuple[type, ...]:
        """Those of the HTTP libraries. Not cached: an application can import the other library at any time."""
        return _imported_classes("httpx2", "Response") + _imported_classes("httpx", "Response")


def _imported_classes(module_name: str, *names: str) -> tuple[type, ...]:
    module = sys.modules.get(module_name)
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


class _RequestInstrumentation:
    """Makes the two replacements of `request`, which measure each billed request as one call."""

    def __init__(self, package: ClientPackage, tracer: CallTracer) -> None:
        self._package = package
        self._tracer = tracer
        self._cached: dict[tuple[object, ...], tuple[dict[str, Attribute], object, object]] = {}
        self._requests_usage = stream_usage.enabled()

    @cached_property
    def _result_classes(self) -> _ResultClasses:
        return _ResultClasses.of_package(self._package.name)

    def sync_request(self, original: Function, switch: Switch) -> Function:
        """The replacement of `SyncAPIClient.request`."""

        @wraps(original)
        def request(*args: Any, **kwargs: Any) -> Any:
            call, args = self._start(args, kwargs) if switch.on else (None, args)
            if call is None:
                return original(*args, **kwargs)
            calls = [call]
            token = call_in_progress.set(calls)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                _reset_call_in_progress(token, calls)
            self._observe_result(call, result)
            return result

        return request

    def async_request(self, original: Function, switch: Switch) -> Function:
        """The replacement of `AsyncAPIClient.request`."""

        @wraps(original)
        async def request(*args: Any, **kwargs: Any) -> Any:
            call, args = self._start(args, kwargs) if switch.on else (None, args)
            if call is None:
                return await original(*args, **kwargs)
            calls = [call]
            token = call_in_progress.set(calls)
            try:
                result = await original(*args, **kwargs)
            except BaseException as error:
                call.fail(error)
                raise
            finally:
                _reset_call_in_progress(token, calls)
            self._observe_result(call, result)
            return result

        return request

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[LLMCall | None, tuple[Any, ...]]:
        """The call if the request is a billed one, else None; and the arguments for the original method."""
        try:
            client, options = args[0], kwargs["options"] if "options" in kwargs else args[2]
            package, method, url = self._package, options.method, options.url
            operation = package.operation(method, url)
            stored = None
            if operation is None and package.stored_response is not None:
                stored = package.stored_response(method, url)
            if (operation or stored) is None or call_in_progress.get() or not is_instrumentation_enabled():
                return None, args
            stream = kwargs.get("stream") is True
            if operation is not None:
                call = self._new_call(client, options, operation, stream=stream)
            elif stored is not None:
                call = self._retrieval(client, url, stored)
            if call is None:
                return None, args
            changed = _with_observed_parser(options, call) if callable(options.post_parser) else options
            is_stream = stream or _field(options.json_data, "stream") is True
            if is_stream and operation is not None and operation.usage_on_request:
                changed = self._with_usage(changed, call, client, stream=stream)
            if changed is not options:
                if "options" in kwargs:
                    kwargs["options"] = changed
                else:
                    args = (*args[:2], changed, *args[3:])
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("api_client.start")
            return None, args
        return call, args

    def _with_usage(self, options: Any, call: LLMCall, client: Any, *, stream: bool) -> Any:
        """The options of a streamed request, which ask for usage if that is enabled and the application does not.

        Without `stream` the package reads the complete body before it returns, and nothing could be hidden.
        """
        requested = stream_usage.requests_usage(options)
        server = _server_of(client, options.url)
        if requested is None and self._requests_usage and stream and stream_usage.accepts_request(server):
            options = stream_usage.with_usage(options)
            call.hides_usage = True
        elif not requested:
            call.usage_not_requested = True
        return options

    def _new_call(self, client: Any, options: Any, operation: Operation, *, stream: bool) -> LLMCall | None:
        body, extra = options.json_data, options.extra_json
        model = repeated_identifier(_field(extra, "model") or _field(body, "model"))
        attributes = self._constant_attributes(client, options.url, operation).copy()
        if model is not None:
            attributes[key.REQUEST_MODEL] = model
        if stream or _field(body, "stream") is True:
            attributes[key.REQUEST_STREAM] = True
        started_ns = time_ns()
        span_name = f"{operation.name} {model}" if model else operation.name
        span = self._tracer.start_span(span_name, attributes, started_ns)
        return None if span is None else LLMCall(span, operation, started_ns)

    def _retrieval(self, client: Any, url: str, operation: Operation) -> LLMCall:
        """The retrieval of a stored response. It is a call only if the response was made in the background."""
        attributes = self._constant_attributes(client, url, operation).copy()
        started_ns = time_ns()
        span = StoredResponseSpan(self._tracer.start_result_span, operation.name, attributes, started_ns)
        return LLMCall(span, operation, started_ns)

    def _constant_attributes(self, client: Any, url: str, operation: Operation) -> dict[str, Attribute]:
        """The attributes of all calls of one operation by one client, cached by its server.

        The cache is bounded. Its values refer to the objects with the ids in the key, so that no id is reused.
        """
        server = _server_of(client, url)
        runtime = get_field(client, "_provider_runtime")
        cache_key = id(server), type(client), id(runtime), id(operation)
        cached = self._cached.get(cache_key)
        if cached is not None:
            return cached[0]
        attributes: dict[str, Attribute] = {
            key.OPERATION: operation.name,
            key.PROVIDER: self._package.provider_of(client),
            **operation.constants,
            **_server_attributes(server),
        }
        if server is client.base_url:
            if len(self._cached) >= _MAX_CACHED_CLIENTS:
                self._cached.clear()
            self._cached[cache_key] = attributes, server, runtime
        return attributes

    def _observe_result(self, call: LLMCall, result: Any) -> None:
        classes, kind = self._result_classes, type(result)
        try:
            if call.hides_usage:
                self._hide_usage(call, result)
            if issubclass(kind, classes.streams):
                streams.observe_stream(call, result)
            elif issubclass(kind, classes.wrappers):
                response_body.observe_response(call, result.http_response)
            elif issubclass(kind, classes.responses()):
                response_body.observe_response(call, result)
            else:
                call.on_response(result)
                call.stop()
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("api_client.observe_result")
            call.abandon()

    def _hide_usage(self, call: LLMCall, result: Any) -> None:
        try:
            response = getattr(result, "response", None) or getattr(result, "http_response", None) or result
            stream_usage.hide_usage(call, response)
        except Exception:  # noqa: BLE001 - rule: no internal error reaches the application
            record_internal_error("api_client.hide_usage")


def _reset_call_in_progress(token: Token[object], calls: list[LLMCall]) -> None:
    calls.clear()  # see `call_in_progress`
    try:  # noqa: SIM105 - `suppress` costs as much as the rest of this function
        call_in_progress.reset(token)
    except ValueError:  # a coroutine was closed in another context than it ran in; its own context no longer exists
        pass


def _field(body: object, name: str) -> object:
    # The package passes a dict. The check for `Mapping` alone takes ten times as long.
    return body.get(name) if type(body) is dict or isinstance(body, Mapping) else None


def _server_of(client: Any, url: str) -> Any:
    """The base URL of the client, or that of a request with an absolute URL."""
    return client.base_url if url.startswith("/") or "://" not in url else urlsplit(url)


def _server_attributes(server: Any) -> dict[str, Attribute]:
    host = getattr(server, "host", None) or getattr(server, "hostname", None)
    port = server.port or _DEFAULT_PORTS.get(server.scheme)
    return {key.SERVER_ADDRESS: host, key.SERVER_PORT: port} if host and port else {}


def _with_observed_parser(options: Any, call: LLMCall) -> Any:
    """Options of the same request with a `post_parser` that first reports the response to the call.

    The parser can raise, as it does for a truncated response, and that response is billed too.
    """
    parse = options.post_parser

    def observed_parser(response: Any) -> Any:
        call.on_response(response)
        return parse(response)

    # The package logs the options, with the parser by its name.
    observed_parser.__qualname__ = getattr(parse, "__qualname__", observed_parser.__qualname__)
    observed_options = copy(options)
    observed_options.post_parser = observed_parser
    return observed_options
