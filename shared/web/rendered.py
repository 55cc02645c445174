"""The HTTP side of rendered images and thumbnails (PS3.18 §10.4.1.1.3, §10.4.1.1.4)."""

import hashlib
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from shared.dicomweb.rendered import negotiate_rendered, parse_rendering
from shared.dicomweb.uids import parse_frame_list
from shared.errors import BadRequest
from shared.services.content import Held
from shared.services.rendering import RenderingService
from shared.web.answers import answer, not_modified, tag_of
from shared.web.resource import accept_of, named_scope_of, version_of


class RenderedHandlers:
    """Answers the rendered and thumbnail routes."""

    def __init__(self, service: RenderingService) -> None:
        self._service = service

    async def rendered(self, request: Request) -> Response:
        """GET the image of a study, series, instance or frame."""
        return await self._image(request, thumbnail=False)

    async def thumbnail(self, request: Request) -> Response:
        """GET a small image of the same."""
        return await self._image(request, thumbnail=True)

    async def _image(self, request: Request, *, thumbnail: bool) -> Response:
        version_of(request)
        number = _frame_of(request)
        scope = named_scope_of(request)
        # Parameters are judged before Accept, as the original service does.
        rendering = parse_rendering(request.query_params.multi_items(), thumbnail=thumbnail)
        rendering = replace(rendering, media=negotiate_rendered(accept_of(request)))
        picture = await self._service.find(scope, number, middle=thumbnail)
        wanted = hashlib.sha256(f"{picture.number} {rendering}".encode()).hexdigest()[:16]
        tag = tag_of(picture.version, wanted)
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        image = await self._service.render(picture, rendering)
        response = await answer(request, Held(image), rendering.media, tag)
        # A page that isolates itself, as viewers with threads do, shows only images that say they may be shown.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response


def _frame_of(request: Request) -> int | None:
    """The one frame that the path names, counted from 1; None when it names an instance or more. Raises BadRequest."""
    if "frames" not in request.path_params:
        return None
    numbers = parse_frame_list(request.path_params["frames"])
    if len(numbers) > 1:
        raise BadRequest("an image is of one frame: ask for one frame at a time")
    return numbers[0]
