"""The HTTP side of Retrieve: instances, metadata and frames (PS3.18 §10.4)."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from shared.dicomweb import multipart
from shared.dicomweb.negotiation import Choice, Resource, negotiate, negotiate_json
from shared.dicomweb.uids import parse_frame_list
from shared.errors import BadRequest, NotFound
from shared.model import Level
from shared.services.retrieve import Part, RetrieveService
from shared.web.problems import answering_problems, problem
from shared.web.resource import accept_of, instance_key_of, named_scope_of, version_of

_RESOURCES = {Level.STUDY: Resource.STUDY, Level.SERIES: Resource.SERIES, Level.INSTANCE: Resource.INSTANCE}


class RetrieveHandlers:
    """Answers the retrieve routes."""

    def __init__(self, service: RetrieveService, new_boundary: Callable[[], str]) -> None:
        """`new_boundary` makes the boundaries of multipart answers: random, so that no instance can hold one."""
        self._service = service
        self._new_boundary = new_boundary

    @answering_problems
    async def instances(self, request: Request) -> Response:
        """GET a study, series or instance."""
        version_of(request)
        scope = named_scope_of(request)
        choice = negotiate(_RESOURCES[scope.level], accept_of(request))
        return await self._answer(choice, await self._service.instances(scope, choice.transfer_syntax))

    @answering_problems
    async def frames(self, request: Request) -> Response:
        """GET frames of an instance."""
        version_of(request)
        numbers = parse_frame_list(request.path_params["frames"])
        key = instance_key_of(named_scope_of(request))
        choice = negotiate(Resource.FRAMES, accept_of(request))
        if not choice.multipart and len(numbers) > 1:
            raise BadRequest("several frames cannot be a single part: accept multipart/related, or ask for one frame")
        return await self._answer(choice, await self._service.frames(key, numbers, choice.transfer_syntax))

    @answering_problems
    async def metadata(self, request: Request) -> Response:
        """GET the metadata of a study, series or instance, unless the client knows it already (RFC 9110 §13.1.2)."""
        version_of(request)
        media = negotiate_json(accept_of(request))
        known = request.headers.getlist("if-none-match")
        metadata = await self._service.metadata(named_scope_of(request), lambda tag: _is_known(tag, known))
        if metadata is None:
            return Response(status_code=304)
        return StreamingResponse(metadata.chunks, headers={"ETag": f'"{metadata.tag}"', "Content-Type": media})

    async def metadata_of_misspelt_series(self, request: Request) -> Response:
        """GET the metadata of a series whose path lacks the slash after "studies", as one of the tutorial's does."""
        misspelt: str = request.path_params["study"]
        if not misspelt.startswith("studies"):
            return problem(NotFound("There is no such resource."))
        request.path_params["study"] = misspelt.removeprefix("studies")
        return await self.metadata(request)

    async def _answer(self, choice: Choice, parts: AsyncGenerator[Part]) -> Response:
        if choice.multipart:
            boundary = self._new_boundary()
            return StreamingResponse(
                _multipart_body(parts, choice.media, boundary),
                headers={"Content-Type": multipart.content_type(boundary, choice.media)},
            )
        part = await anext(parts)
        headers = {"Content-Type": f"{choice.media}; transfer-syntax={part.transfer_syntax}"}
        if part.length is not None:
            headers["Content-Length"] = str(part.length)
        return StreamingResponse(_single_body(part, parts), headers=headers)


async def _multipart_body(parts: AsyncGenerator[Part], media: str, boundary: str) -> AsyncIterator[bytes]:
    async with aclosing(parts):
        async for part in parts:
            yield multipart.part_header(boundary, media, part.transfer_syntax)
            async for chunk in part.chunks:
                yield chunk
            yield multipart.PART_END
    yield multipart.closing(boundary)


async def _single_body(part: Part, parts: AsyncGenerator[Part]) -> AsyncIterator[bytes]:
    async with aclosing(parts):
        async for chunk in part.chunks:
            yield chunk


def _is_known(tag: str, headers: list[str]) -> bool:
    """Whether If-None-Match names a tag: quoted, weak or, as the original service writes them, bare."""
    names = [each.strip().removeprefix("W/").strip('"') for header in headers for each in header.split(",")]
    return "*" in names or tag in names
