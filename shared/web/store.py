"""The HTTP side of Store: POST and PUT, one instance or many, as files or as metadata and bulk data (PS3.18 §10.5).

In the place of a study, a name with a dollar is an operation of the original service, such as `$bulkUpdate`, which is
not there; the router cannot tell.
"""

import json

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared.dicomweb.negotiation import negotiate_json
from shared.dicomweb.store_request import parse_store_content
from shared.dicomweb.store_response import Failed, Stored, several_values_warning, store_response
from shared.errors import BadRequest, NotFound
from shared.model import Scope
from shared.services.judging import Outcome, StoreRequest
from shared.services.store import StoreService
from shared.web.body import described_parts_of, drain, parts_of
from shared.web.resource import Urls, accept_of, note_studies, scope_of, version_of


class StoreHandlers:
    """Answers the store routes."""

    def __init__(self, service: StoreService) -> None:
        self._service = service

    async def store(self, request: Request) -> Response:
        """POST, which never replaces an instance, or PUT, which does."""
        try:
            return await self._store(request)
        except ClientDisconnect:
            raise BadRequest("the request ended before its body did") from None
        except Exception:
            await drain(request)
            raise

    async def _store(self, request: Request) -> Response:
        version = version_of(request)
        if request.path_params.get("study", "").startswith("$"):
            raise NotFound(f"{request.url.path} is no resource of this service")
        media = negotiate_json(accept_of(request))
        content = parse_store_content(request.headers.get("content-type"))
        scope = scope_of(request)
        urls = Urls(request)
        wanted = StoreRequest(
            study=scope.study if scope else None,
            replaces=request.method == "PUT",
            lenient=version.lenient_validation,
        )
        studies: dict[str, None] = {}
        try:
            if content.metadata:
                base = f"{urls.root}{request.url.path}"
                described = described_parts_of(request.stream(), content, base)
                outcomes = await self._service.store_composed(described, base, wanted, studies.setdefault)
            else:
                parts = parts_of(request.stream(), content)
                outcomes = await self._service.store(parts, wanted, studies.setdefault)
        finally:
            note_studies(request, studies)
        answer = store_response(
            version, [_told(outcome, urls) for outcome in outcomes], urls.of(Scope(scope.study)) if scope else None
        )
        if answer.body is None:
            return Response(status_code=answer.status)
        text = json.dumps(answer.body, ensure_ascii=False, separators=(",", ":"))
        # Clients compare this Content-Type as a whole, so it must have no parameters.
        headers = {"Content-Type": media}
        if any(outcome.failure is None and outcome.several_values for outcome in outcomes):
            headers["Warning"] = several_values_warning(urls.host)
        return Response(text.encode("utf-8", "replace"), answer.status, headers)


def _told(outcome: Outcome, urls: Urls) -> Stored | Failed:
    """An outcome as the response tells it."""
    if outcome.failure is not None or outcome.key is None:
        assert outcome.failure is not None
        return Failed(outcome.sop_class, outcome.sop_instance, outcome.failure, outcome.comments)
    key = outcome.key
    url = urls.of(Scope(key.study, key.series, key.instance))
    return Stored(outcome.sop_class or "", outcome.sop_instance or "", url, outcome.warning, outcome.comments)
