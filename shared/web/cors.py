"""Cross-origin requests of browsers (Fetch standard, "CORS protocol"): who may call from where, and see what.

Decides: an origin of the setting may send any request that a page can make, with any headers, and may read every
header a viewer needs; another origin gets the same statuses without the permission, and its browser then refuses.

The platform's own CORS feature must be left off: it would answer preflights before they come here, and it cannot expose
headers. Left out: credentials. Browsers mean cookies by that, and the service has none; a token is a header like any.
"""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

#: What viewers read of an answer, beyond the few headers that the Fetch standard always exposes.
EXPOSED: Final = (
    *("Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Location", "Content-Range", "ETag", "Link"),
    *("Location", "Retry-After", "WWW-Authenticate", "Warning", "X-Total-Count", "api-supported-versions"),
    "x-ms-request-id",
)


def is_preflight(request: Request) -> bool:
    """Whether a browser only asks if it may send another request."""
    headers = request.headers
    return request.method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


class Cors:
    """The permissions of some origins."""

    def __init__(self, origins: str, max_age: int) -> None:
        """`origins` with commas between them, `*` for all; `max_age` of a preflight's answer in seconds."""
        self._origins = frozenset(each.strip().rstrip("/").lower() for each in origins.split(",") if each.strip())
        self._any = "*" in self._origins
        self._max_age = str(max_age)

    def preflight(self, request: Request) -> Response:
        """The answer to a preflight: 204, with a permission if there is one."""
        granted = self._granted(request)
        if "access-control-allow-origin" in granted:
            granted["access-control-allow-methods"] = request.headers["access-control-request-method"]
            granted["access-control-max-age"] = self._max_age
            # Not a star: browsers do not take it to mean Authorization.
            if asked := request.headers.get("access-control-request-headers"):
                granted["access-control-allow-headers"] = asked
        return Response(status_code=204, headers=granted)

    def headers(self, request: Request) -> Mapping[str, str]:
        """What any answer to a request says besides; nothing where no origin may call."""
        granted = self._granted(request)
        if "access-control-allow-origin" in granted:
            granted["access-control-expose-headers"] = ", ".join(EXPOSED)
        return granted

    def _granted(self, request: Request) -> dict[str, str]:
        if not self._origins:
            return {}
        # Caches must know that the answer depends on the origin, also when they see one without.
        granted = {} if self._any else {"vary": "Origin"}
        origin = request.headers.get("origin")
        if origin is not None and (self._any or origin.lower() in self._origins):
            granted["access-control-allow-origin"] = "*" if self._any else origin
        return granted
