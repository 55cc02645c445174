"""Stand-ins for the protobuf messages that `azure_functions_runtime` exchanges with a Functions host.

The runtime is handed the classes of its messages and only builds them, reads their attributes and asks `WhichOneof`;
plain objects do all of that. Only what an app of HTTP and timer triggers reaches is here: a binding of another kind
fails with an AttributeError that names the missing class.
"""

import sys
from types import SimpleNamespace
from typing import ClassVar


class BindingInfo(SimpleNamespace):
    """One binding of a function; the numbers are those of the host's protocol."""

    inout: ClassVar[int] = 2
    out: ClassVar[int] = 1
    undefined: ClassVar[int] = 0


class StatusResult(SimpleNamespace):
    """Whether a request to the runtime succeeded, and the RpcException if it did not."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1


class TypedData(SimpleNamespace):
    """A value with exactly one field set, whose name is its kind; without a field it is empty."""

    def WhichOneof(self, _group: str) -> str | None:
        return next(iter(vars(self)), None)


class ParameterBinding(SimpleNamespace):
    """The value of one parameter of a function."""

    def WhichOneof(self, _group: str) -> str:
        return "data"


class RpcException(SimpleNamespace):
    """An exception as text: `message` and `stack_trace`."""


class RpcFunctionMetadata(SimpleNamespace):
    """One function of the app: `name`, `function_id`, `raw_bindings` (JSON texts) and more."""


class WorkerInitResponse(SimpleNamespace):
    """The answer to the first request: `result` and the capabilities."""


class WorkerMetadata(SimpleNamespace):
    """The versions of the runtime."""


class FunctionMetadataResponse(SimpleNamespace):
    """The functions of the app, in `function_metadata_results`."""


class InvocationResponse(SimpleNamespace):
    """The outcome of one call of a function; an HTTP response travels beside it."""


def init_request(app_folder: str) -> SimpleNamespace:
    """Asks the runtime to import the app."""
    init = SimpleNamespace(capabilities={}, function_app_directory=app_folder)
    return SimpleNamespace(
        request=SimpleNamespace(worker_init_request=init),
        properties={"host": "127.0.0.1", "protos": sys.modules[__name__]},
    )


def metadata_request() -> SimpleNamespace:
    """Asks for the functions of the app."""
    return SimpleNamespace(request=SimpleNamespace(), properties={})


def invocation_request(invocation_id: str, function_id: str, parameter: str, data: TypedData) -> SimpleNamespace:
    """Asks for one call of a function, with `data` for its trigger parameter."""
    invocation = SimpleNamespace(
        invocation_id=invocation_id,
        function_id=function_id,
        input_data=[ParameterBinding(name=parameter, data=data)],
        trigger_metadata={},
        trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
        retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
    )
    return SimpleNamespace(request=SimpleNamespace(invocation_request=invocation), properties={})


def http_data(route_parameters: dict[str, str]) -> TypedData:
    """An HTTP trigger's value: only the route parameters, for the request itself is handed over as an object."""
    http = SimpleNamespace(method="", url="", headers={}, params=route_parameters, query={}, body=TypedData())
    return TypedData(http=http)
