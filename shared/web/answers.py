"""Answers that are bytes: one content, with ranges and validators, or many parts as a multipart body or an archive.

    Content --answer--> 200, 206, 304 or 416, with Content-Length, ETag and Accept-Ranges where the length is known
    Parts   --multipart_answer, zip_answer--> a stream whose length nobody knows

What can still fail before the first byte does so before the status line is sent.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from shared.dicomweb import multipart
from shared.dicomweb.negotiation import ZIP
from shared.dicomweb.ranges import ByteRange, requested_range
from shared.dicomweb.zip_stream import ZipStream
from shared.model import Scope
from shared.services.content import Content, Held, Joined, opened_ahead, started
from shared.services.retrieve import Part
from shared.web.resource import Urls

#: An answer may be kept, but its owner is to be asked whether it is still right: a PUT may have replaced the instance.
CACHE_CONTROL = "private, no-cache"

#: What makes boundaries of bodies that are not the same each time: random, so that no instance can hold one.
type NewBoundary = Callable[[], str]


def is_known(tag: str, headers: Sequence[str]) -> bool:
    """Whether If-None-Match names a tag: quoted, weak or, as the original service writes them, bare; in any case."""
    names = [each.strip().removeprefix("W/").strip('"').lower() for header in headers for each in header.split(",")]
    return "*" in names or tag.lower() in names


def not_modified(request: Request, tag: str) -> Response | None:
    """The answer 304 to a client that has the representation called `tag`; None for any other (RFC 9110 §13.1.2)."""
    if is_known(tag, request.headers.getlist("if-none-match")):
        return Response(status_code=304, headers={"ETag": f'"{tag}"', "Cache-Control": CACHE_CONTROL, "Vary": "Accept"})
    return None


def range_of(request: Request, tag: str, length: int) -> ByteRange | None:
    """The range of a representation of `length` bytes, called `tag` with its quotes, that a GET asks for; None for all.

    A range means something for GET alone (RFC 9110 §14.2). Raises RangeNotSatisfiable.
    """
    if request.method != "GET":
        return None
    return requested_range(request.headers.get("range"), request.headers.get("if-range"), tag, length)


async def answer(
    request: Request, content: Content, content_type: str, tag: str | None = None, *, ranges: bool = True
) -> Response:
    """One content as the body of an answer; `tag` names it, where it always is the same bytes.

    `ranges`: whether a Range header is one of these bytes. Raises what reading its first bytes raises, and
    RangeNotSatisfiable.
    """
    headers = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff"}
    if tag is not None:
        headers |= {"ETag": f'"{tag}"', "Cache-Control": CACHE_CONTROL, "Vary": "Accept"}
    length = content.length
    status, start, count = 200, 0, None
    if length is not None:
        headers["Content-Length"] = str(length)
        if tag is not None and ranges:
            headers["Accept-Ranges"] = "bytes"
            asked = range_of(request, headers["ETag"], length)
            if asked is not None:
                status, start, count = 206, asked.start, asked.count
                headers |= {"Content-Length": str(asked.count), "Content-Range": asked.content_range}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers) if length is not None else without_body(headers)
    return StreamingResponse(await started(content.read(start, count)), status, headers)


def in_parts(parts: Sequence[Part], urls: Urls, window: int, tag: str) -> tuple[Content, str]:
    """Parts as the one content of a multipart body, and its Content-Type (PS3.18 §8.6.1.2).

    The boundary follows from `tag`, which holds the random name of a stored version: nobody can have put it into an
    instance, and it is the same each time, so that a range of the body has a meaning.
    """
    boundary = hashlib.sha256(tag.encode()).hexdigest()[:32]
    contents: list[Content] = []
    for part in parts:
        contents += [Held(_head_of(part, boundary, urls)), part.content, Held(multipart.PART_END)]
    contents.append(Held(multipart.closing(boundary)))
    return Joined(contents, 3 * window), multipart.content_type(boundary, parts[0].media)


async def multipart_answer(
    request: Request, parts: AsyncGenerator[Part], media: str, boundary: str, urls: Urls, window: int
) -> Response:
    """Parts as they come, as a multipart body. Raises what making the first of them raises."""

    async def body() -> AsyncGenerator[bytes]:
        opened = opened_ahead(parts, lambda part: part.content, window)
        async with aclosing(opened):
            async for part, chunks in opened:
                yield _head_of(part, boundary, urls)
                async for chunk in chunks:
                    yield chunk
                yield multipart.PART_END
        yield multipart.closing(boundary)

    return await _stream(request, body(), {"Content-Type": multipart.content_type(boundary, media)})


async def zip_answer(request: Request, parts: AsyncGenerator[Part], name: str, window: int) -> Response:
    """Instances as files of an archive called `name`. Raises what making the first of them raises."""

    async def body() -> AsyncGenerator[bytes]:
        opened = opened_ahead(parts, lambda part: part.content, window)
        async with aclosing(opened):
            with ZipStream() as archive:
                async for part, chunks in opened:
                    yield archive.begin(f"{part.scope.series}/{part.scope.instance}.dcm")
                    async for chunk in chunks:
                        yield archive.add(chunk)
                    yield archive.end()
                yield archive.finish()

    return await _stream(
        request, body(), {"Content-Type": ZIP, "Content-Disposition": f'attachment; filename="{name}.zip"'}
    )


async def _stream(request: Request, chunks: AsyncGenerator[bytes], headers: dict[str, str]) -> Response:
    body = await started(chunks)
    if request.method == "HEAD":
        await body.aclose()
        await chunks.aclose()  # a body that was never begun closes nothing
        return without_body(headers)
    return StreamingResponse(body, headers=headers)


def without_body(headers: dict[str, str]) -> Response:
    """The answer to HEAD where the length of the body is not known."""
    response = Response(headers=headers)
    del response.headers["content-length"]
    return response


def _head_of(part: Part, boundary: str, urls: Urls) -> bytes:
    location = _joined(urls.of(part.scope), part.name)
    return multipart.part_header(boundary, part.media, part.transfer_syntax, location)


def _joined(url: str, name: str) -> str:
    return f"{url}/{name}" if name else url


def tag_of(version: str, *representation: str) -> str:
    """The ETag, without its quotes, of a representation of a stored version."""
    return "-".join([version, *(each.replace("/", ".") for each in representation)])


def zip_name(scope: Scope) -> str:
    """What to call the archive of a study, series or instance."""
    return scope.instance or scope.series or scope.study
