"""The HTTP side of Retrieve: instances, metadata and frames (PS3.18 §10.4)."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from shared.dicomweb.negotiation import (
    ORIGINAL,
    ZIP,
    Candidate,
    Choice,
    Resource,
    acceptable,
    by_media,
    choose,
    negotiate_json,
)
from shared.dicomweb.uids import parse_frame_list
from shared.errors import BadRequest, CannotTranscode, NotFound
from shared.model import Level, Scope
from shared.services.retrieve import FrameSet, RetrieveService
from shared.web.answers import (
    CACHE_CONTROL,
    NewBoundary,
    answer,
    in_parts,
    multipart_answer,
    not_modified,
    tag_of,
    without_body,
    zip_answer,
    zip_name,
)
from shared.web.resource import Urls, accept_of, instance_key_of, named_scope_of, version_of

#: Characters of a list of frames from which it stands as a hash in the ETag.
_LONG_LIST = 32

_RESOURCES = {Level.STUDY: Resource.STUDY, Level.SERIES: Resource.SERIES, Level.INSTANCE: Resource.INSTANCE}


class RetrieveHandlers:
    """Answers the retrieve routes."""

    def __init__(self, service: RetrieveService, new_boundary: NewBoundary, window: int) -> None:
        """`window` is the number of instances or frames that are read ahead of the one being sent."""
        self._service = service
        self._new_boundary = new_boundary
        self._window = window

    async def instances(self, request: Request) -> Response:
        """GET a study, series or instance."""
        version_of(request)
        scope = named_scope_of(request)
        # Every part of one answer is of the same kind: that of the range the client likes best, of those to be had.
        *others, last = by_media(acceptable(_RESOURCES[scope.level], accept_of(request)))
        for candidates in others:
            with suppress(CannotTranscode):
                return await self._of_one_media(request, scope, candidates)
        return await self._of_one_media(request, scope, last)

    async def _of_one_media(self, request: Request, scope: Scope, candidates: Sequence[Candidate]) -> Response:
        media = candidates[0].offer.media
        if scope.level is Level.INSTANCE and media != ZIP:
            return await self._instance(request, scope, candidates)
        certain = any(ORIGINAL in each.transfer_syntaxes for each in candidates)
        parts = await self._service.instances(scope, _chooser(candidates), certain=certain)
        if media == ZIP:
            return await zip_answer(request, parts, zip_name(scope), self._window)
        return await multipart_answer(request, parts, media, self._new_boundary(), Urls(request), self._window)

    async def _instance(self, request: Request, scope: Scope, candidates: Sequence[Candidate]) -> Response:
        instance = await self._service.instance(instance_key_of(scope))
        choice = choose(candidates, instance.transfer_syntax)
        tag = tag_of(instance.version, choice.transfer_syntax, "parts" if choice.multipart else "single")
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        part = await self._service.part_of(instance, choice)
        if choice.multipart:
            content, content_type = in_parts([part], Urls(request), self._window, tag)
            return await answer(request, content, content_type, tag)
        return await answer(request, part.content, f"{part.media}; transfer-syntax={part.transfer_syntax}", tag)

    async def frames(self, request: Request) -> Response:
        """GET frames of an instance."""
        version_of(request)
        numbers = parse_frame_list(request.path_params["frames"])
        key = instance_key_of(named_scope_of(request))
        candidates = acceptable(Resource.FRAMES, accept_of(request))
        if len(numbers) > 1:
            candidates = tuple(each for each in candidates if each.multipart)
            if not candidates:
                raise BadRequest(
                    "several frames cannot be a single part: accept multipart/related, or ask for one frame"
                )
        frames = await self._service.frames(key, _chooser(candidates), greatest=max(numbers))
        form = "parts" if frames.choice.multipart else "single"
        which = ".".join(map(str, numbers))
        if len(which) > _LONG_LIST:
            which = hashlib.sha256(which.encode()).hexdigest()[:_LONG_LIST]
        tag = tag_of(frames.instance.version, frames.choice.media, frames.choice.transfer_syntax, form, which)
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        return await self._answer_frames(request, frames, numbers, tag)

    async def _answer_frames(self, request: Request, frames: FrameSet, numbers: Sequence[int], tag: str) -> Response:
        # With the first of them made, what is wrong with the pixel data is usually known before the status is sent.
        parts = [await frames.made(numbers[0]), *map(frames.part, numbers[1:])]
        if frames.choice.multipart:
            content, content_type = in_parts(parts, Urls(request), self._window, tag)
            return await answer(request, content, content_type, tag)
        part = parts[0]
        return await answer(request, part.content, f"{part.media}; transfer-syntax={part.transfer_syntax}", tag)

    async def metadata(self, request: Request) -> Response:
        """GET the metadata of a study, series or instance, unless the client knows it already (RFC 9110 §13.1.2)."""
        version_of(request)
        media = negotiate_json(accept_of(request))
        metadata = await self._service.metadata(named_scope_of(request), Urls(request).of)
        if (unchanged := not_modified(request, metadata.tag)) is not None:
            return unchanged
        headers = {"ETag": f'"{metadata.tag}"', "Content-Type": media, "Cache-Control": CACHE_CONTROL}
        if request.method == "HEAD":
            return without_body(headers)
        return StreamingResponse(metadata.chunks, headers=headers)

    async def metadata_of_misspelt_series(self, request: Request) -> Response:
        """GET the metadata of a series whose path lacks the slash after "studies", as one of the tutorial's does."""
        misspelt: str = request.path_params["study"]
        if not misspelt.startswith("studies"):
            raise NotFound("There is no such resource.")
        request.path_params["study"] = misspelt.removeprefix("studies")
        return await self.metadata(request)


def _chooser(candidates: Sequence[Candidate]) -> Callable[[str], Choice]:
    return lambda stored: choose(candidates, stored)
