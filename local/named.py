"""The port of this host, for clients that leave it out of the Host header.

Facts: a service makes the URLs in its answers from Host. The Python dicomweb-client sends the name alone, whatever the
port, and would then be told to fetch bulk data from port 80. In Azure the port is always the scheme's own, so there it
makes no difference. Only names of this machine are completed: for another name there may be a proxy in between, which
has a port of its own.
"""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

_THIS_MACHINE: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


class WithPort:
    """An ASGI application whose requests have a port in their Host header where it is the name of this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, port = scope["server"]
        headers = [
            (name, b"%s:%d" % (value, port) if name == b"host" and value.lower() in _THIS_MACHINE else value)
            for name, value in scope["headers"]
        ]
        await self._app({**scope, "headers": headers}, receive, send)
