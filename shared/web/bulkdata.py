"""The HTTP side of bulk values and pixel data (PS3.18 §10.4.1.1.5, §10.4.1.1.6)."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from shared.dicom.bulk import is_bulk_name
from shared.dicom.syntaxes import EXPLICIT_LITTLE
from shared.dicomweb.negotiation import (
    DOCUMENT_MEDIA,
    OCTET_STREAM,
    ORIGINAL,
    Offer,
    Resource,
    acceptable,
    candidates_among,
    choose,
)
from shared.errors import BadRequest, CannotTranscode, NotFound
from shared.model import InstanceKey
from shared.services.bulkdata import BulkdataService, Found
from shared.services.content import Content, Slice
from shared.services.retrieve import Part, RetrieveService, scope_of
from shared.web.answers import NewBoundary, answer, in_parts, multipart_answer, not_modified, range_of, tag_of
from shared.web.resource import Urls, accept_of, instance_key_of, named_scope_of, version_of

_SINGLE, _MULTIPART = False, True

#: One value: a single part unless parts are asked for, because such a URL is what programs put into a page.
_ONE_VALUE = Offer(OCTET_STREAM, (_SINGLE, _MULTIPART), (ORIGINAL, EXPLICIT_LITTLE), (ORIGINAL,))
#: All values. Pixel data is decoded unless something else is asked for (PS3.18 §8.7.3.3), or nothing decodes it.
_ALL_VALUES = Offer(OCTET_STREAM, (_MULTIPART,), (ORIGINAL, EXPLICIT_LITTLE), (EXPLICIT_LITTLE, ORIGINAL))


class BulkdataHandlers:
    """Answers the bulk data and pixel data routes."""

    def __init__(
        self, service: BulkdataService, retrieve: RetrieveService, new_boundary: NewBoundary, window: int
    ) -> None:
        """`window` is the number of values that are read ahead of the one being sent."""
        self._service = service
        self._retrieve = retrieve
        self._new_boundary = new_boundary
        self._window = window

    async def value(self, request: Request) -> Response:
        """GET the value that a BulkDataURI names."""
        version_of(request)
        key = instance_key_of(named_scope_of(request))
        name = request.path_params["attribute"].upper()
        if not is_bulk_name(name):
            raise BadRequest("what follows bulkdata/ is no path of tags and item numbers with dots between them")
        found = await self._service.find(key, name)
        if found.pixels is None:
            assert found.content is not None
            return await self._answer_value(request, key, name, found, found.content)
        return await self._answer_pixels(request, key, name, found)

    async def _answer_value(
        self, request: Request, key: InstanceKey, name: str, found: Found, content: Content
    ) -> Response:
        offers = [_ONE_VALUE]
        if found.document_type in DOCUMENT_MEDIA:
            offers.insert(0, Offer(found.document_type, _ONE_VALUE.forms, (ORIGINAL,), (ORIGINAL,)))
        accept = accept_of(request)
        choice = choose(candidates_among(offers, accept, "a bulk value"), found.instance.transfer_syntax)
        part = Part(scope_of(key), choice.media, None, content, f"bulkdata/{name}")
        return await self._answer(request, part, tag_of(found.instance.version, name), choice.multipart)

    async def _answer_pixels(self, request: Request, key: InstanceKey, name: str, found: Found) -> Response:
        """Pixel data: native as one value, encapsulated as one part a frame, or as one value where that is asked."""
        candidates = acceptable(Resource.FRAMES, accept_of(request))
        assert found.pixels is not None
        stored = found.instance.transfer_syntax
        choice = choose(candidates, stored)
        tag = tag_of(found.instance.version, name, choice.media, choice.transfer_syntax)
        if not found.pixels.encapsulated and choice.media == OCTET_STREAM:
            content = await self._service.native_pixels(found)
            part = Part(scope_of(key), OCTET_STREAM, EXPLICIT_LITTLE, content, f"bulkdata/{name}")
            return await self._answer(request, part, tag, choice.multipart)
        try:
            frames = await self._retrieve.frames(key, lambda stored: choose(candidates, stored))
        except NotFound:
            # The value is there all the same.
            if choice.transfer_syntax != stored:
                raise CannotTranscode("the frames cannot be told apart; ask for transfer-syntax=*") from None
            part = Part(scope_of(key), choice.media, stored, self._service.fragments(found), f"bulkdata/{name}")
            return await self._answer(request, part, tag, choice.multipart)
        if choice.multipart:
            return await multipart_answer(
                request, frames.all(), choice.media, self._new_boundary(), Urls(request), self._window
            )
        content = self._service.joined(frames, self._window)
        part = Part(scope_of(key), choice.media, choice.transfer_syntax, content, f"bulkdata/{name}")
        return await self._answer(request, part, tag, multipart=False)

    async def _answer(self, request: Request, part: Part, tag: str, multipart: bool) -> Response:
        tag = tag_of(tag, "parts" if multipart else "single")
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        if multipart:
            return await self._answer_in_part(request, part, tag)
        syntax = f"; transfer-syntax={part.transfer_syntax}" if part.transfer_syntax else ""
        return await answer(request, part.content, f"{part.media}{syntax}", tag)

    async def _answer_in_part(self, request: Request, part: Part, tag: str) -> Response:
        """A value as the only part. A range is one of the value, as clients expect, not of the body around it."""
        length = part.content.length
        headers: dict[str, str] = {}
        if length is not None:
            asked = range_of(request, f'"{tag}"', length)
            if asked is not None:
                headers["Content-Range"] = asked.content_range
                part = replace(part, content=Slice(part.content, asked.start, asked.count))
        content, content_type = in_parts([part], Urls(request), self._window, tag)
        response = await answer(request, content, content_type, tag, ranges=False)
        if headers:
            response.status_code = 206
            response.headers.update(headers)
        return response

    async def all_values(self, request: Request) -> Response:
        """GET every bulk value of a study, series or instance."""
        return await self._all(request, pixels_only=False)

    async def pixel_data(self, request: Request) -> Response:
        """GET the pixel data of a study, series or instance."""
        return await self._all(request, pixels_only=True)

    async def _all(self, request: Request, *, pixels_only: bool) -> Response:
        version_of(request)
        scope = named_scope_of(request)
        candidates = candidates_among([_ALL_VALUES], accept_of(request), "bulk data")
        certain = any(ORIGINAL in each.transfer_syntaxes for each in candidates)
        parts = await self._service.all_of(
            scope, lambda stored: choose(candidates, stored), certain=certain, pixels_only=pixels_only
        )
        return await multipart_answer(request, parts, OCTET_STREAM, self._new_boundary(), Urls(request), self._window)
