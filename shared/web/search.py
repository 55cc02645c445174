"""The HTTP side of Search (PS3.18 §10.6): parameters in, a page of results and what is to know of the others out.

Warning         where there are more results, how many if that is known (PS3.18 §8.3.4.4); or that some may be
                missing, because the search was cut short
Link            the next page; unlike one by offset it repeats and skips nothing, whatever is stored meanwhile
X-Total-Count   how many results all pages have, where that is cheap to tell

An answer of usual size has a Content-Length; one that grows beyond `HELD` is streamed.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote, unquote_plus

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from shared.dicomweb.negotiation import negotiate_json
from shared.dicomweb.paging import token_of
from shared.dicomweb.query import Query, SearchResource, parse_query
from shared.model import Level
from shared.services.search import SearchResults, SearchService
from shared.web.answers import without_body
from shared.web.resource import Urls, accept_of, scope_of, version_of

#: The standard's texts for results beyond the page.
MORE = "There are additional results that can be requested"
MORE_COUNTED = "There are {remaining} additional results that can be requested"
#: The search was given up after so many rows that did not match that there may be matches nobody looked at.
CUT_SHORT = "The search was cut short: there may be results that are missing here. Please ask for fewer"

#: Bytes of an answer that are gathered before any of it is sent.
HELD = 1024 * 1024

#: What may stand in the query of a URL beside letters and digits (RFC 3986 §3.4), and the escapes that are there.
_QUERY = "-._~!$'()*+,;=:@/?%"

_NAMES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}


class SearchHandlers:
    """Answers the search routes."""

    def __init__(self, service: SearchService) -> None:
        self._service = service

    async def search(self, request: Request, resource: SearchResource) -> Response:
        """GET the page of matches of a search resource."""
        version_of(request)
        media = negotiate_json(accept_of(request))
        scope = scope_of(request)
        parameters = request.query_params.multi_items()
        query = parse_query([(name, value) for name, value in parameters if name != "accept"], resource)
        urls = Urls(request)
        results = await self._service.search(query, scope, urls.of)
        headers = {}
        if (text := _warning(query, results)) is not None:
            headers["Warning"] = f'299 {urls.host} "{text}"'
        if results.last is not None:
            url = f"{urls.of(scope) if scope else urls.of_version}/{_NAMES[resource.level]}"
            next_page = next_query(request.url.query, token_of(results.last))
            headers["Link"] = f'<{url}?{next_page}>; rel="next"'
        if results.total is not None:
            headers["X-Total-Count"] = str(results.total)
        if not results.count:
            return Response(status_code=204, headers=headers)
        return await _answer(request, _array(results.results), {**headers, "Content-Type": media})


async def _answer(request: Request, chunks: AsyncGenerator[bytes], headers: dict[str, str]) -> Response:
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) > HELD:
            break
    else:
        return Response(bytes(held), headers=headers)
    if request.method == "HEAD":
        await chunks.aclose()
        return without_body(headers)
    return StreamingResponse(_continued(bytes(held), chunks), headers=headers)


async def _array(results: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    separator = b"["
    async with aclosing(results):
        async for each in results:
            yield separator + each
            separator = b","
    yield b"]"


async def _continued(held: bytes, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        yield held
        async for chunk in chunks:
            yield chunk


def _warning(query: Query, results: SearchResults) -> str | None:
    if results.cut:
        return CUT_SHORT
    if results.last is None:
        return None
    if results.total is None or query.after is not None:  # behind a cursor nobody knows how many came before
        return MORE
    return MORE_COUNTED.format(remaining=results.total - query.offset - results.count)


def next_query(query: str, token: str) -> str:
    """The query as the client wrote it, for a plus is a space in one parameter and not in another, from another place.

    What may not stand in a URL is escaped, so that nobody can put anything behind the URL in its header.
    """
    pairs = (pair for pair in query.split("&") if pair)
    kept = [pair for pair in pairs if unquote_plus(pair.partition("=")[0]).lower() not in ("cursor", "offset")]
    return "&".join([*(quote(pair.encode("latin-1"), safe=_QUERY) for pair in kept), f"cursor={quote(token)}"])
