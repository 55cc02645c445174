"""Requests as the handlers get them, without a server."""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from shared.auth.gate import OpenGate
from shared.web.cors import Cors
from shared.web.edge import Edge, Kind
from shared.web.journal import Journal


def asked(
    query: str = "",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    method: str = "GET",
    body: Sequence[bytes] = (),
    **path: str,
) -> Request:
    """A request for /v2/studies. Its body is received chunk by chunk; `request.state.left` is what is left of it."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    chunks = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in body]
    left = [*chunks, {"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, object]:
        return left.pop(0)

    scope = {
        "type": "http",
        "method": method,
        "path": "/v2/studies",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
        "path_params": path,
    }
    request = Request(scope, receive)
    request.state.left = left
    return request


async def _unchanged(uid: str) -> str:
    return uid


async def answered(handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """What a handler's answer becomes at the edge of a service that lets everybody in."""
    edge = Edge(OpenGate(), Cors("", 0), Journal(_unchanged), time.perf_counter, lambda: secrets.token_hex(16))

    async def function(req: Request) -> Response:
        return await handler(req)

    return await edge.operation(Kind.DESCRIPTION)(function)(request)
