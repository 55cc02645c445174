"""Which answer each error becomes, what of it is told to whom, and what is checked before any handler."""

import contextlib
import logging
from collections.abc import Callable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared import errors
from shared.dicomweb.versions import VERSIONS
from shared.errors import BadRequest, CannotRender, CannotTranscode, RangeNotSatisfiable, ServiceError, Unavailable
from shared.web.problems import STATUS, answering_problems, problem
from shared.web.resource import accept_of, refuse_long_audit_headers


def classes(base: type[ServiceError] = ServiceError) -> set[type[ServiceError]]:
    return {each for child in base.__subclasses__() for each in {child} | classes(child)}


def made(error: type[ServiceError]) -> ServiceError:
    """An error of a class, saying "the reason" where the class has no text of its own."""
    return RangeNotSatisfiable(4711) if error is RangeNotSatisfiable else error("the reason")


class Handlers:
    """Two handlers as those of shared/web/: one answers, one fails in a way nobody foresaw."""

    def __init__(self) -> None:
        self.answered = 0

    @answering_problems
    async def answer(self, _: Request) -> Response:
        self.answered += 1
        return Response(status_code=204)

    @answering_problems
    async def fail(self, _: Request) -> Response:
        raise KeyError("Doe^Jane")


def test_every_error_of_the_service_has_a_status() -> None:
    assert {each for each in ServiceError.__subclasses__() if each.__module__ == errors.__name__} == set(STATUS)
    for each in classes():
        assert problem(made(each)).status_code >= 400


@pytest.mark.parametrize("error", [CannotTranscode, CannotRender])
def test_a_derived_error_has_the_status_of_its_base(error: type[ServiceError]) -> None:
    assert problem(error("no codec")).status_code == 406


@pytest.mark.parametrize("error", [each for each in STATUS if each is not Unavailable])
def test_the_text_of_an_error_is_told_as_plain_text(error: type[ServiceError]) -> None:
    answer = problem(made(error))
    assert bytes(answer.body).decode() == str(made(error))
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.status_code == STATUS[error]


def test_failing_storage_is_told_without_its_reason_which_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = problem(Unavailable("the index answered 500 (Busy)"))
    assert answer.status_code == 503
    assert b"index" not in bytes(answer.body)
    assert "retry-after" in answer.headers
    assert "the index answered 500 (Busy)" in caplog.text


def test_a_range_that_cannot_be_satisfied_is_told_with_the_length() -> None:
    answer = problem(RangeNotSatisfiable(4711))
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */4711")


async def test_an_unforeseen_error_is_told_and_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    answer = await Handlers().fail(asked(""))
    assert answer.status_code == 500
    assert b"Doe" not in bytes(answer.body)
    assert "KeyError" in caplog.text
    assert "test_problems.py" in caplog.text
    assert "Doe" not in caplog.text


@pytest.mark.parametrize("query", ["", "a=<"])
@pytest.mark.parametrize("call", [Handlers.answer, Handlers.fail])
async def test_every_answer_names_the_versions(call: Callable[..., object], query: str) -> None:
    answer = await call(Handlers(), asked(query))  # type: ignore[misc]
    named = answer.headers["api-supported-versions"].split(", ")
    assert named == [each.removeprefix("v") for each in VERSIONS]


def test_a_client_that_has_gone_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    assert problem(ClientDisconnect()).status_code == 400
    assert not caplog.records


def asked(query: str, *accept: str, body: tuple[bytes, ...] = ()) -> Request:
    """A request; a body is received chunk by chunk."""
    headers = [(b"accept", each.encode()) for each in accept]
    chunks = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in body]
    left = [*chunks, {"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, object]:
        return left.pop(0)

    request = Request(
        {"type": "http", "method": "GET", "path": "/v2/studies", "query_string": query.encode(), "headers": headers},
        receive,
    )
    request.state.left = left
    return request


@pytest.mark.parametrize("query", ["a=<", "a=%3c", "a=%3C", "<=1", "a=1&b=%3Cx"])
async def test_markup_in_a_query_is_refused_before_anything_else(query: str) -> None:
    handlers = Handlers()
    answer = await handlers.answer(asked(query))
    assert (answer.status_code, handlers.answered) == (400, 0)


@pytest.mark.parametrize("query", ["", "a=%3e", "a=lt", "a=%253c", "a=3c"])
async def test_other_queries_are_not(query: str) -> None:
    handlers = Handlers()
    answer = await handlers.answer(asked(query))
    assert (answer.status_code, handlers.answered) == (204, 1)


async def test_the_body_of_a_request_that_is_refused_so_early_is_read_on() -> None:
    request = asked("a=<", body=(b"DICM", b"more"))
    assert (await Handlers().answer(request)).status_code == 400
    assert request.state.left == []


def test_accept_in_the_query_takes_the_place_of_the_header() -> None:
    assert [each.media for each in accept_of(asked("accept=application/dicom%2Bjson", "text/html"))] == [
        "application/dicom+json"
    ]
    assert [each.media for each in accept_of(asked("", "text/html", "image/png"))] == ["text/html", "image/png"]


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ([("x-ms-azuredicom-audit-a", "v" * 2048)], False),
        ([("X-MS-AZUREDICOM-AUDIT-a", "v" * 2049)], True),
        ([(f"x-ms-azuredicom-audit-{number}", "v") for number in range(10)], False),
        ([(f"x-ms-azuredicom-audit-{number}", "v") for number in range(11)], True),
        ([(f"x-other-{number}", "v" * 3000) for number in range(20)], False),
    ],
)
def test_audit_headers_are_few_and_short(headers: list[tuple[str, str]], refused: bool) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw})
    with pytest.raises(BadRequest, match="audit header") if refused else contextlib.nullcontext():
        refuse_long_audit_headers(request)
