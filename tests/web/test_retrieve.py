"""What If-None-Match may look like, and what becomes of it."""

import pytest
from starlette.requests import Request

from shared.services.retrieve import Metadata, RetrieveService
from shared.web.retrieve import RetrieveHandlers
from tests.web.requests import answered

TAG = "0123456789abcdef"


class KnowsOneTag(RetrieveService):
    """A service whose metadata always has the same tag."""

    def __init__(self) -> None:
        pass

    async def metadata(self, scope: object, url_of: object) -> Metadata:
        async def chunks() -> object:
            yield b"[]"

        return Metadata(TAG, chunks())  # type: ignore[arg-type]


def request(*if_none_match: str) -> Request:
    headers = [(b"if-none-match", each.encode()) for each in if_none_match]
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/v2/studies/1.2/metadata",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"accept", b"application/dicom+json"), *headers],
            "path_params": {"version": "v2", "study": "1.2"},
        }
    )


@pytest.mark.parametrize(
    "headers",
    [
        (f'"{TAG}"',),
        (TAG,),
        (f'"{TAG.upper()}"',),
        (f'W/"{TAG}"',),
        (f'"other", "{TAG}"',),
        (f' "other" ,W/"{TAG}" ',),
        ('"other"', f'"{TAG}"'),
        ("*",),
    ],
)
async def test_a_tag_that_is_named_in_any_form_is_not_modified(headers: tuple[str, ...]) -> None:
    answer = await RetrieveHandlers(KnowsOneTag(), lambda: "boundary", 4).metadata(request(*headers))
    assert (answer.status_code, answer.body) == (304, b"")


@pytest.mark.parametrize(
    "headers",
    [(), ("",), ('"other"',), (f'"{TAG}0"',), (f'"{TAG[:-1]}"',), ('""',), ('"*x"',), (",,,",)],
)
async def test_any_other_tag_is_answered_with_the_metadata_and_its_tag(headers: tuple[str, ...]) -> None:
    answer = await RetrieveHandlers(KnowsOneTag(), lambda: "boundary", 4).metadata(request(*headers))
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{TAG}"'


async def test_only_the_misspelling_of_the_tutorial_is_taken_for_a_series() -> None:
    handlers = RetrieveHandlers(KnowsOneTag(), lambda: "boundary", 4)
    for segment, status in (("studies1.2", 200), ("study1.2", 404), ("1.2", 404), ("studies", 400), ("studiesx", 400)):
        asked = request()
        asked.scope["path_params"] = {"version": "v2", "study": segment, "series": "1.3"}
        assert (await answered(handlers.metadata_of_misspelt_series, asked)).status_code == status
