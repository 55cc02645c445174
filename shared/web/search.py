"""The HTTP side of Search (PS3.18 §10.6)."""

import json

from starlette.requests import Request
from starlette.responses import Response

from shared.dicomweb.negotiation import negotiate_json
from shared.dicomweb.query import SearchResource, parse_query
from shared.services.search import SearchService
from shared.web.problems import answering_problems
from shared.web.resource import Urls, accept_of, scope_of, version_of

#: PS3.18 §8.3.4.4 has this text for results that were limited by the service.
CUT_SHORT = '299 {host}: "There are additional results that can be requested"'


class SearchHandlers:
    """Answers the search routes."""

    def __init__(self, service: SearchService) -> None:
        self._service = service

    @answering_problems
    async def search(self, request: Request, resource: SearchResource) -> Response:
        """GET the page of matches of a search resource."""
        version_of(request)
        media = negotiate_json(accept_of(request))
        scope = scope_of(request)
        parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "accept"]
        results = await self._service.search(parse_query(parameters, resource), scope, Urls(request).of)
        headers = {}
        if results.cut:
            headers["Warning"] = CUT_SHORT.format(host=request.url.hostname or "localhost")
        if not results.data_sets:
            return Response(status_code=204, headers=headers)
        text = json.dumps(results.data_sets, ensure_ascii=False, separators=(",", ":"))
        return Response(text.encode("utf-8", "replace"), headers={**headers, "Content-Type": media})
