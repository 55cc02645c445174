"""The HTTP side of Delete; not part of PS3.18, but of the original service."""

from starlette.requests import Request
from starlette.responses import Response

from shared.services.delete import DeleteService
from shared.web.resource import named_scope_of, version_of


class DeleteHandlers:
    """Answers the delete routes."""

    def __init__(self, service: DeleteService) -> None:
        self._service = service

    async def delete(self, request: Request) -> Response:
        """DELETE a study, series or instance. Accept and body do not matter."""
        version_of(request)
        await self._service.delete(named_scope_of(request))
        return Response(status_code=204)
