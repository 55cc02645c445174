"""A function app as an ASGI application, by way of the very runtime that runs it in Azure.

Facts: `azure_functions_runtime` imports the app when it is told to start and then wants to open a web server of its
own, to which Azure's host forwards requests. Here is no such host, so `load` takes that server away and every request
is handed over directly: to the runtime's coordinator under an invocation id, followed by the invocation itself. The
coordinator keeps one small object per invocation for ever; it is dropped here after each response.

What is left to the runtime: decoding parameters, calling the function, holding its response. Leaves out function keys
(`authLevel`), bindings other than HTTP and timer triggers, and apps that use the classic buffered HttpRequest.
"""

import json
import logging
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure_functions_runtime as runtime
from azure_functions_runtime import handle_event
from azure_functions_runtime.http_v2 import HttpV2Registry, http_coordinator
from fastapi.encoders import jsonable_encoder
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from local import protos
from local.routes import Route, RouteTable, parse_route
from local.settings import LocalError
from local.timers import Timer, resolve_schedule

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _HttpFunction:
    name: str
    function_id: str
    parameter: str


class FunctionApp:
    """The loaded app: an ASGI application for its HTTP triggers, and its timers."""

    def __init__(self, functions: list[Any], prefix: str, settings: Mapping[str, str]) -> None:
        self.timers: list[Timer] = []
        self._http: dict[str, _HttpFunction] = {}
        routes: list[Route] = []
        for function in functions:
            for binding in map(json.loads, function.raw_bindings):
                name, kind, parameter = function.name, binding["type"], binding["name"]
                if kind == "httpTrigger":
                    self._http[name] = _HttpFunction(name, function.function_id, parameter)
                    routes.append(parse_route(name, binding.get("route", name), binding.get("methods"), prefix))
                elif kind == "timerTrigger":
                    schedule = resolve_schedule(name, binding["schedule"], settings)
                    self.timers.append(Timer(name, function.function_id, parameter, schedule))
                elif kind != "http":
                    raise LocalError(f"Function {name} has a binding of type {kind}, which this host does not serve.")
        self._routes = RouteTable(routes)
        if self._http and not HttpV2Registry.http_v2_enabled():
            raise LocalError(
                "The HTTP functions must use azurefunctions-extensions-http-fastapi, for this host streams."
            )

    def answers(self, method: str, raw_path: bytes) -> bool:
        """Whether a function answers requests of this method for this path, as it came over the wire."""
        return self._routes.find(method, raw_path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise LocalError(f"Only HTTP is served here, not {scope['type']}.")
        found = self._routes.find(scope["method"], scope["raw_path"])
        if found is None:
            await Response(status_code=404)(scope, receive, send)
            return
        name, parameters = found
        scope["path_params"] = {}  # the runtime fills it from the invocation
        response = await self._answer(self._http[name], Request(scope, receive, send), parameters)
        await response(scope, receive, send)

    async def run_timer(self, timer: Timer, request: str) -> None:
        """One run of a timer function; a failure is logged."""
        invocation = protos.invocation_request(
            str(uuid.uuid4()), timer.function_id, timer.parameter, protos.TypedData(json=request)
        )
        outcome = await runtime.invocation_request(invocation)
        if outcome.result.status != protos.StatusResult.Success:
            _log.error("function %s failed\n%s", timer.name, outcome.result.exception.stack_trace.rstrip())

    async def _answer(self, function: _HttpFunction, request: Request, parameters: dict[str, str]) -> Response:
        invocation_id = str(uuid.uuid4())
        invocation = protos.invocation_request(
            invocation_id, function.function_id, function.parameter, protos.http_data(parameters)
        )
        http_coordinator.set_http_request(invocation_id, request)
        try:
            await runtime.invocation_request(invocation)
            # The runtime reports an exception of the function as its response, and no response as a ValueError.
            answer = await http_coordinator.await_http_response_async(invocation_id)
            if isinstance(answer, Exception):
                raise answer
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is there to read it
        except Exception as error:
            _log.error("function %s failed", function.name, exc_info=error)
            return Response(status_code=500)
        finally:
            http_coordinator._context_references.pop(invocation_id, None)
        # As FastAPI, which serves the functions in Azure, treats what is not a response.
        return answer if isinstance(answer, Response) else JSONResponse(jsonable_encoder(answer))


async def load(folder: Path, settings: Mapping[str, str]) -> FunctionApp:
    """Imports the app in `folder`. Raises LocalError, with the traceback as text, when it cannot be imported."""
    if not (folder / "function_app.py").is_file():
        raise LocalError(f"There is no function_app.py in {folder}.")
    os.chdir(folder)  # as in Azure, where relative paths start at the app
    sys.path.insert(0, str(folder))
    # The runtime's own web server would listen on a second port and take the signals of this process for itself.
    handle_event.initialize_http_server = lambda _address, **_options: ""
    runtime.start_threadpool_executor()
    started = await runtime.worker_init_request(protos.init_request(str(folder)))
    if started.result.status != protos.StatusResult.Success:
        error = started.result.exception
        raise LocalError(f"The function app cannot be loaded.\n{error.stack_trace or error.message}".rstrip())
    metadata = await runtime.functions_metadata_request(protos.metadata_request())
    functions = metadata.function_metadata_results
    if not functions:
        raise LocalError(f"There are no functions in {folder / 'function_app.py'}.")
    return FunctionApp(functions, _route_prefix(folder), settings)


def _route_prefix(folder: Path) -> str:
    try:
        document = json.loads((folder / "host.json").read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise LocalError(f"There is no host.json in {folder}.") from None
    except ValueError as error:
        raise LocalError(f"host.json is not JSON: {error}.") from None
    prefix = document.get("extensions", {}).get("http", {}).get("routePrefix", "api")
    return str(prefix)
