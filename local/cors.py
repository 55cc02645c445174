"""Cross-origin requests of browsers, as Azure Functions Core Tools answer them for `Host.CORS` in the settings file.

Decides: every OPTIONS request with Origin and Access-Control-Request-Method is a preflight and is answered here with
204, whatever its path, so no function needs a route for it; any method and any header is allowed to an origin in the
list; another origin gets the same statuses without the headers, and its browser then refuses.

*Deviation:* Core Tools send no `Access-Control-Expose-Headers`, nor does the CORS feature of the platform. Here the
headers are exposed that a viewer on another origin reads. Leaves out origins with a wildcard inside, which Core Tools
do not know either.
"""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: What viewers read of an answer, beyond the few headers that the Fetch standard always exposes.
EXPOSED: Final = (
    *("Accept-Ranges", "Content-Encoding", "Content-Location", "Content-Range", "ETag", "Link", "Location"),
    *("Retry-After", "Warning", "X-Total-Count", "api-supported-versions"),
)


class Cors:
    """An ASGI application with the CORS protocol put in front of it; origins `("*",)` means all of them."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], *, credentials: bool = False) -> None:
        self._app = app
        self._any = tuple(origins) == ("*",)
        self._origins = frozenset(origin.lower() for origin in origins)
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        granted = self._granted(origin)
        method = headers.get("access-control-request-method")
        if scope["method"] == "OPTIONS" and method is not None:
            if granted:
                granted["access-control-allow-methods"] = method
                if asked := headers.get("access-control-request-headers"):
                    granted["access-control-allow-headers"] = asked
            await Response(status_code=204, headers=granted)(scope, receive, send)
            return
        if granted:
            granted["access-control-expose-headers"] = ", ".join(EXPOSED)

        async def send_granted(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in granted.items():
                    if name == "vary":
                        answer.add_vary_header(value)
                    else:
                        answer[name] = value
            await send(message)

        await self._app(scope, receive, send_granted)

    def _granted(self, origin: str) -> dict[str, str]:
        """The headers of any answer to this origin; none when it may not read answers."""
        if not self._any and origin.lower() not in self._origins:
            return {}
        granted = {"access-control-allow-origin": "*" if self._any else origin}
        if self._credentials:
            granted["access-control-allow-credentials"] = "true"
        if not self._any:
            granted["vary"] = "Origin"
        return granted
