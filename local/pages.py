"""Web pages on the same origin as the function app, so that a viewer needs no CORS; on the development host only.

Decides what a path means: a file of the viewer if there is one, else a function if a route fits, else, for a browser
that opens a page, `index.html`, because the viewer reads its own paths. Files go first because they are few and known
when the host starts: none begins with a version, so none can hide a resource of the service. Anything but GET and HEAD
goes to the functions.

Facts: the viewer decodes images in threads that share memory, which browsers allow only to a page with
`Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`. The Content-Security-Policy
keeps the page from reaching any other host. Leaves out compression, and everything in Azure: docs/viewer.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from local.app import FunctionApp

#: What every file is sent with.
HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The bundles run code that they compile themselves, WebAssembly among it, and start workers from blobs.
    "Content-Security-Policy": (
        "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; object-src 'self' blob:; frame-src 'self' blob:; base-uri 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    # A file is asked for again and answered 304, until another version of it is there.
    "Cache-Control": "no-cache",
}

_INDEX: Final = "index.html"


class Pages:
    """The ASGI application of the host when it also serves the files below `folder`.

    `replaced` maps paths below `folder` to files elsewhere, which are served in their place.
    """

    def __init__(self, app: FunctionApp, folder: Path, replaced: Mapping[str, Path]) -> None:
        self._app = app
        # Only what is listed is served, so no path can lead out of the folder.
        self._files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        self._files |= replaced
        self._static = StaticFiles(directory=folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._page(scope) if scope["type"] == "http" else None
        await (response or self._app)(scope, receive, send)

    def _page(self, scope: Scope) -> Response | None:
        """The response for a file or page; None when the request is for a function."""
        if scope["method"] not in {"GET", "HEAD"}:
            return None
        name = scope["path"].removeprefix("/") or _INDEX
        if name not in self._files:
            opens_page = "text/html" in Headers(scope=scope).get("accept", "")
            if not opens_page or self._app.answers(scope["method"], scope["raw_path"]):
                return None
            name = _INDEX
        path = self._files[name]
        response = self._static.file_response(path, path.stat(), scope)
        response.headers.update(HEADERS)
        return response
