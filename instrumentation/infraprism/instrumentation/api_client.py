"""Observe the client packages that come from one generator: openai, anthropic, and many more.

All their calls go through `request` of two base classes in the package's `_base_client`. Only those two methods are
replaced, so that every method an application knows keeps its identity, signature and docstring, and clients that
exist already are observed too. Of a request only its path and the keys `model` and `stream` are looked at.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
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
from infraprism.instrumentation import response_body, streams
from infraprism.instrumentation.call import Call, swallow
from infraprism.instrumentation.patching import WRAPPED, Function, Patch, Patches, Switch
from infraprism.instrumentation.tracing import Tracing
from infraprism.instrumentation.usage_reader import Attribute, Operation, get, name
from infraprism.schema.call_context import call_in_progress

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_MAX_KNOWN: Final = 256
"""Clients whose address is kept; an application that makes one for every call must not fill the memory."""


@dataclass(frozen=True, eq=False, repr=False)
class ClientPackage:
    """One client package, as data.

    `name` is the name of its distribution and module, `oldest` the oldest version that works. `operations` are the
    billed calls by the end of their path. `provider` is the `gen_ai.provider.name` of its clients, except of those
    whose class, or whose own name for where it sends calls, is in `other_providers`.
    """

    name: str
    oldest: tuple[int, ...]
    provider: str
    operations: Mapping[str, Operation]
    other_providers: Mapping[str, str] = field(default_factory=dict)

    @property
    def base_module(self) -> str:
        """The module that all calls go through; who imports the package imports it."""
        return f"{self.name}._base_client"

    def operation(self, method: str, url: str) -> Operation | None:
        """The billed call that a request is, or None."""
        if method.lower() != "post":
            return None
        exact = self.operations.get(url)
        if exact is not None:
            return exact
        path = url.partition("?")[0].rstrip("/")
        return next((found for end, found in self.operations.items() if path.endswith(end)), None)

    def provider_of(self, client: object) -> str:
        """Who the requests of a client go to, as far as its class says."""
        runtime = get(get(client, "_provider_runtime"), "name")
        for named in (runtime, *(kind.__name__ for kind in type(client).__mro__)):
            if named in self.other_providers:
                return self.other_providers[named]
        return self.provider

    def patches(self, base: Any, tracing: Tracing) -> Patches:
        """What to replace in the package's `base_module`. Imports nothing: the package may be half imported.

        Raises AttributeError, KeyError or TypeError where the package has another shape.
        """
        observer = _Observer(self, tracing)
        patches: list[Patch] = []
        for client, replaced in ((base.SyncAPIClient, observer.sync), (base.AsyncAPIClient, observer.asynchronous)):
            _check(vars(client)["request"])
            patches.append(Patch(client, "request", replaced))
            patches += [Patch(wrapper, WRAPPED, replaced) for wrapper in _wrapped_already(client)]
        return Patches(patches)


def _check(request: object) -> None:
    """Raise TypeError if this is no method that takes the options of a request: then we would see nothing."""
    if not callable(request) or isinstance(request, staticmethod | classmethod):
        raise TypeError("request is no method")
    parameters = inspect.signature(request).parameters
    if "options" not in parameters and all(p.kind is not p.VAR_POSITIONAL for p in parameters.values()):
        raise TypeError("request takes no options")


def _wrapped_already(client: type[Any]) -> list[Any]:
    """Wrappers that somebody has put on the method in classes below the base class, as OpenInference does.

    They call what stood there then, and would pass ours by. What they return may be something else than the package's
    own answers, so ours goes below them.
    """
    original = vars(client)["request"]
    return [found for one in _below(client) if (found := _lowest(vars(one).get("request"), original)) is not None]


def _below(client: type[Any]) -> Iterator[type[Any]]:
    for one in client.__subclasses__():
        yield one
        yield from _below(one)


def _lowest(found: Any, original: Function) -> Any:
    while issubclass(type(found), FunctionWrapper):  # such a wrapper says that it is a function
        if found.__wrapped__ is original:
            return found
        found = found.__wrapped__
    return None


class _Results(NamedTuple):
    """The classes that tell what a request returned."""

    streams: tuple[type, ...]
    wrappers: tuple[type, ...]

    @classmethod
    def of(cls, package: str) -> _Results:
        """Those of a package that has made its first request, so that all of it that matters is imported."""
        return cls(
            _classes(f"{package}._streaming", "Stream", "AsyncStream"),
            _classes(f"{package}._response", "BaseAPIResponse")
            + _classes(f"{package}._legacy_response", "LegacyAPIResponse"),
        )

    @staticmethod
    def responses() -> tuple[type, ...]:
        """Those of the HTTP libraries: an application can import another one at any time, and bring its client."""
        return _classes("httpx2", "Response") + _classes("httpx", "Response")


def _classes(module: str, *names: str) -> tuple[type, ...]:
    found = sys.modules.get(module)
    return tuple(getattr(found, name) for name in names if hasattr(found, name))


class _Observer:
    """Makes the two replacements of `request`, and turns one request into one call."""

    def __init__(self, package: ClientPackage, tracing: Tracing) -> None:
        self._package = package
        self._tracing = tracing
        self._known: dict[tuple[object, ...], tuple[dict[str, Attribute], object, object]] = {}

    @cached_property
    def _results(self) -> _Results:
        return _Results.of(self._package.name)

    def sync(self, original: Function, switch: Switch) -> Function:
        """The replacement of `SyncAPIClient.request`."""

        @wraps(original)
        def request(*args: Any, **kwargs: Any) -> Any:
            call, args = self._start(args, kwargs) if switch.on else (None, args)
            if call is None:
                return original(*args, **kwargs)
            under_way = [call]
            entered = call_in_progress.set(under_way)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                call.failed(error)
                raise
            finally:
                _leave(entered, under_way)
            self._follow(call, result)
            return result

        return request

    def asynchronous(self, original: Function, switch: Switch) -> Function:
        """The replacement of `AsyncAPIClient.request`."""

        @wraps(original)
        async def request(*args: Any, **kwargs: Any) -> Any:
            call, args = self._start(args, kwargs) if switch.on else (None, args)
            if call is None:
                return await original(*args, **kwargs)
            under_way = [call]
            entered = call_in_progress.set(under_way)
            try:
                result = await original(*args, **kwargs)
            except BaseException as error:
                call.failed(error)
                raise
            finally:
                _leave(entered, under_way)
            self._follow(call, result)
            return result

        return request

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Call | None, tuple[Any, ...]]:
        """The call that a request is, or None; and the arguments to make the request with."""
        try:
            client, options = args[0], kwargs["options"] if "options" in kwargs else args[2]
            operation = self._package.operation(options.method, options.url)
            if operation is None or call_in_progress.get() or not is_instrumentation_enabled():
                return None, args
            call = self._call(client, options, operation, streamed=kwargs.get("stream") is True)
            if call is not None and callable(options.post_parser):
                options = _seen_before_parsing(options, call)
                if "options" in kwargs:
                    kwargs["options"] = options
                else:
                    args = (*args[:2], options, *args[3:])
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("api_client.start")
            return None, args
        return call, args

    def _call(self, client: Any, options: Any, operation: Operation, *, streamed: bool) -> Call | None:
        body, extra = options.json_data, options.extra_json
        model = name(_of(extra, "model") or _of(body, "model"))
        attributes = self._constants(client, options.url, operation).copy()
        if model is not None:
            attributes[key.REQUEST_MODEL] = model
        if streamed or _of(body, "stream") is True:
            attributes[key.REQUEST_STREAM] = True
        started_ns = time_ns()
        title = f"{operation.name} {model}" if model else operation.name
        span = self._tracing.start_span(title, attributes, started_ns)
        return None if span is None else Call(span, operation, started_ns)

    def _constants(self, client: Any, url: str, operation: Operation) -> dict[str, Attribute]:
        """The attributes that all calls of one kind by one client have, kept by where it sends them.

        What is kept holds on to what its ids are those of; and it is bounded.
        """
        server = _server_of(client, url)
        runtime = get(client, "_provider_runtime")
        about = id(server), type(client), id(runtime), id(operation)
        known = self._known.get(about)
        if known is not None:
            return known[0]
        attributes: dict[str, Attribute] = {
            key.OPERATION: operation.name,
            key.PROVIDER: self._package.provider_of(client),
            **operation.constants,
            **_address(server),
        }
        if server is client.base_url:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[about] = attributes, server, runtime
        return attributes

    def _follow(self, call: Call, result: Any) -> None:
        results, kind = self._results, type(result)
        try:
            if issubclass(kind, results.streams):
                streams.follow(call, result)
            elif issubclass(kind, results.wrappers):
                response_body.follow(call, result.http_response)
            elif issubclass(kind, results.responses()):
                response_body.follow(call, result)
            else:
                call.answer(result)
                call.answered()
        except Exception:  # noqa: BLE001 - rule: no error of ours reaches the application
            swallow("api_client.follow")
            call.abandoned()


def _leave(entered: Token[object], under_way: list[Call]) -> None:
    under_way.clear()  # see `call_in_progress`
    try:  # noqa: SIM105 - `suppress` costs as much as all else here
        call_in_progress.reset(entered)
    except ValueError:  # a coroutine that is closed from another context than it ran in; that one is gone
        pass


def _of(body: object, field: str) -> object:
    # The package makes a dict of what the application asks; `Mapping` alone costs ten times as much to ask for.
    return body.get(field) if type(body) is dict or isinstance(body, Mapping) else None


def _server_of(client: Any, url: str) -> Any:
    """A request can name another server than the client's by a whole URL."""
    return client.base_url if url.startswith("/") or "://" not in url else urlsplit(url)


def _address(server: Any) -> dict[str, Attribute]:
    host = getattr(server, "host", None) or getattr(server, "hostname", None)
    port = server.port or _DEFAULT_PORTS.get(server.scheme)
    return {key.SERVER_ADDRESS: host, key.SERVER_PORT: port} if host and port else {}


def _seen_before_parsing(options: Any, call: Call) -> Any:
    """Options for the same request that let the call see the answer before it is parsed into the application's type.

    That parsing can fail, as it does for an answer that was cut off, and the answer is billed all the same.
    """
    parse = options.post_parser

    def seen(answer: Any) -> Any:
        call.answer(answer)
        return parse(answer)

    # The package's log shows the options, and the parser by its name.
    seen.__qualname__ = getattr(parse, "__qualname__", seen.__qualname__)
    seen_options = copy(options)
    seen_options.post_parser = seen
    return seen_options
