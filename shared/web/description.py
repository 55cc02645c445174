"""What the service says of itself: its capabilities (PS3.18 §8.9) and its OpenAPI description.

Both are public: they hold nothing but what this program's text says. Only the URLs in them depend on the request.

Facts. Nobody asks for these while images wait, so what makes them is imported when it is first asked for. They are made
anew for each request, which takes milliseconds; for YAML, if it is written in C, thirty of them.

Left out: what OPTIONS tells of other resources. The one use that browsers have for it, asking whether another origin
may send a request, is answered before a request comes here (edge.py).
"""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.dicomweb.negotiation import JSON
from shared.web.problems import STATUS
from shared.web.resource import Urls, accept_of, version_of


class DescriptionHandlers:
    """Answers the routes that describe the service."""

    async def capabilities(self, request: Request) -> Response:
        """OPTIONS, and for people and tools GET, of the service's base URL."""
        from shared.dicomweb.capabilities import capabilities, negotiate

        segment = _segment_of(request)
        form = negotiate(accept_of(request))
        return _answer(capabilities(f"{Urls(request).root}/{segment}", STATUS, form), form)

    async def openapi_yaml(self, request: Request) -> Response:
        """GET the OpenAPI description as YAML; the path names the form, so Accept does not matter."""
        from shared.dicomweb.operation import YAML

        return _answer(_as_yaml(_openapi(request)), YAML)

    async def openapi_json(self, request: Request) -> Response:
        """GET the OpenAPI description as JSON."""
        return _answer(json.dumps(_openapi(request)).encode(), JSON)


def _segment_of(request: Request) -> str:
    """The version as a path has it, in lower case. Raises BadRequest for one the service lacks."""
    version_of(request)
    segment: str = request.path_params["version"].lower()
    return segment


def _answer(body: bytes, media: str) -> Response:
    return Response(body, headers={"Content-Type": media})


def _openapi(request: Request) -> dict[str, Any]:
    from shared.dicomweb.openapi import description

    return description(_segment_of(request), Urls(request).root, STATUS)


def _as_yaml(document: dict[str, Any]) -> bytes:
    import yaml

    class Dumper(yaml.CSafeDumper):
        """Writes out twice what occurs twice: readers of OpenAPI need not know YAML's references."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120, encoding="utf-8")
