"""Whether the service can serve: the health check of the original service, without version or authentication."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.services.health import HealthService


class HealthHandlers:
    """Answers /health/check."""

    def __init__(self, service: HealthService) -> None:
        self._service = service

    async def check(self, _: Request) -> Response:
        """GET: 200 when blobs and index answer, else 503, with one detail for each."""
        conditions = await self._service.check()
        healthy = all(not each.reason for each in conditions)
        details = [
            {"name": each.name, "status": _status(not each.reason), "description": each.reason or "answers"}
            for each in conditions
        ]
        return JSONResponse({"overallStatus": _status(healthy), "details": details}, 200 if healthy else 503)


def _status(healthy: bool) -> str:
    return "Healthy" if healthy else "Unhealthy"
