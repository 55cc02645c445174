"""What is asked of the rendering service, in which order a request is judged, and what names an image for caches."""

from dataclasses import dataclass
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from shared.dicom.rendering import Rendering, Viewport, Window
from shared.errors import NotFound
from shared.model import Scope
from shared.services.rendering import Picture, RenderingService
from shared.web.rendered import RenderedHandlers
from tests.web.requests import answered

IMAGE = b"an image"


@dataclass(frozen=True)
class Shown:
    """What stands for the one resource there is."""

    number: int
    version: str


class Shows(RenderingService):
    """A service that has one version of one resource, and remembers what it was asked for."""

    def __init__(self, version: str | None = "version") -> None:
        self.version = version
        self.found: list[tuple[Scope, int | None, bool]] = []
        self.rendered: list[Rendering] = []

    async def find(self, scope: Scope, number: int | None, *, middle: bool) -> Picture:
        self.found.append((scope, number, middle))
        if self.version is None:
            raise NotFound("The specified instance cannot be found.")
        return Shown(number or 1, self.version)  # type: ignore[return-value]

    async def render(self, picture: Picture, rendering: Rendering) -> bytes:
        self.rendered.append(rendering)
        return IMAGE


def request(query: str = "", method: str = "GET", path: dict[str, str] | None = None, **headers: str) -> Request:
    sent = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Request(
        {
            "type": "http",
            "method": method,
            "path": "/v2/studies/1.2/rendered",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "path_params": {"version": "v2", "study": "1.2"} | (path or {}),
        }
    )


async def tag(query: str = "", service: Shows | None = None, path: dict[str, str] | None = None, **headers: str) -> str:
    answer = await RenderedHandlers(service or Shows()).rendered(request(query, path=path, **headers))
    assert answer.status_code == 200
    return answer.headers["etag"]


FRAME = {"series": "1.3", "instance": "1.4", "frames": "2"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({}, (Scope("1.2"), None)),
        ({"series": "1.3"}, (Scope("1.2", "1.3"), None)),
        ({"series": "1.3", "instance": "1.4"}, (Scope("1.2", "1.3", "1.4"), None)),
        (FRAME, (Scope("1.2", "1.3", "1.4"), 2)),
    ],
)
async def test_the_path_names_what_is_shown(path: dict[str, str], expected: tuple[Scope, int | None]) -> None:
    service = Shows()
    handlers = RenderedHandlers(service)
    for method in (handlers.rendered, handlers.thumbnail):
        assert (await method(request(path=path))).status_code == 200
    assert service.found == [(*expected, False), (*expected, True)]


async def test_the_query_says_how() -> None:
    service = Shows()
    query = "quality=7&viewport=256%2C128&window=40,400,sigmoid&annotation=patient&accept=image%2Fpng"
    await RenderedHandlers(service).rendered(request(query, accept="text/html"))
    assert service.rendered == [Rendering("image/png", 7, Viewport(256, 128), Window(40, 400, "SIGMOID"))]


async def test_a_thumbnail_is_small_and_an_image_is_not_unless_it_is_asked_for() -> None:
    service = Shows()
    handlers = RenderedHandlers(service)
    await handlers.rendered(request())
    await handlers.thumbnail(request())
    await handlers.thumbnail(request("viewport=64,64"))
    large, small, smaller = (each.viewport for each in service.rendered)
    assert large is None
    assert small is not None and max(small.width, small.height) <= 512
    assert smaller == Viewport(64, 64)


async def test_an_answer_says_what_it_is_and_that_others_may_show_it() -> None:
    answer = await RenderedHandlers(Shows()).rendered(request(accept="image/png"))
    assert isinstance(answer, StreamingResponse)
    assert b"".join([bytes(chunk) async for chunk in answer.body_iterator]) == IMAGE  # type: ignore[arg-type]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(IMAGE))
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Accept"


# The order in which a request is judged


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"path": {"version": "v9"}}, 400),
        ({"path": {"study": "no UID"}}, 400),
        ({"path": FRAME | {"frames": "0"}}, 400),
        ({"path": FRAME | {"frames": "1,2"}}, 400),
        ({"query": "quality=0"}, 400),
        ({"query": "viewport=0,0"}, 400),
        ({"query": "window=1"}, 400),
        ({}, 406),
    ],
)
async def test_a_request_is_judged_before_anything_is_looked_for(wrong: dict[str, Any], status: int) -> None:
    service = Shows()
    # All of them are not acceptable either, which is found out last.
    answer = await answered(RenderedHandlers(service).rendered, request(**wrong, accept="text/html"))
    assert answer.status_code == status
    assert not service.found


async def test_what_is_not_there_is_not_found_whatever_a_client_has_of_it() -> None:
    service = Shows(version=None)
    answer = await answered(RenderedHandlers(service).thumbnail, request(if_none_match="*"))
    assert answer.status_code == 404
    assert not service.rendered


# What names an image


async def test_each_image_of_a_version_has_a_name_of_its_own() -> None:
    queries = ["", "quality=50", "viewport=10,10", "viewport=10,11", "window=1,2", "window=1,2,sigmoid", "window=1,3"]
    names = [await tag(query) for query in queries]
    names += [await tag(accept="image/png"), await tag(path=FRAME), await tag(service=Shows("other"))]
    assert len(set(names)) == len(names)


async def test_what_gives_the_same_image_gives_the_same_name() -> None:
    for query, headers in (
        ("quality=100", {}),
        ("unknown=1", {}),
        ("accept=image/jpeg", {"accept": "image/png"}),
        ("", {"accept": "text/html, */*;q=0.1"}),
    ):
        assert await tag(query, **headers) == await tag()
    assert await tag("viewport=5,5,,,,") == await tag("viewport=5,5") == await tag("viewport=5,%205")


async def test_an_image_that_the_client_has_is_not_made_again() -> None:
    service = Shows()
    handlers = RenderedHandlers(service)
    known = await tag("quality=50")
    answer = await handlers.rendered(request("quality=50", if_none_match=known))
    assert (answer.status_code, answer.headers["etag"], service.rendered) == (304, known, [])
    assert (await handlers.rendered(request("quality=51", if_none_match=known))).status_code == 200
    assert len(service.rendered) == 1


async def test_a_head_has_the_length_and_no_body() -> None:
    answer = await RenderedHandlers(Shows()).rendered(request(method="HEAD"))
    assert (answer.status_code, answer.body, answer.headers["content-length"]) == (200, b"", str(len(IMAGE)))
