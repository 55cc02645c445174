"""Which answer each error becomes, what of it is told to whom, and what every request says before its own business."""

import contextlib

import pytest
from starlette.requests import ClientDisconnect, Request

from shared import errors
from shared.errors import BadRequest, CannotRender, CannotTranscode, RangeNotSatisfiable, ServiceError, Unavailable
from shared.web.problems import STATUS, problem
from shared.web.resource import accept_of, refuse_long_audit_headers


def classes(base: type[ServiceError] = ServiceError) -> set[type[ServiceError]]:
    return {each for child in base.__subclasses__() for each in {child} | classes(child)}


def made(error: type[ServiceError]) -> ServiceError:
    """An error of a class, saying "the reason" where the class has no text of its own."""
    return RangeNotSatisfiable(4711) if error is RangeNotSatisfiable else error("the reason")


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


def test_failing_storage_is_told_without_its_reason() -> None:
    answer = problem(Unavailable("the index answered 500 (Busy)"))
    assert answer.status_code == 503
    assert b"index" not in bytes(answer.body)
    assert "retry-after" in answer.headers


def test_a_range_that_cannot_be_satisfied_is_told_with_the_length() -> None:
    answer = problem(RangeNotSatisfiable(4711))
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */4711")


def test_an_unforeseen_error_is_told_without_its_text() -> None:
    answer = problem(KeyError("Doe^Jane"))
    assert answer.status_code == 500
    assert b"Doe" not in bytes(answer.body)


def test_a_client_that_has_gone_is_no_defect() -> None:
    assert problem(ClientDisconnect()).status_code == 400


def asked(query: str, *accept: str) -> Request:
    headers = [(b"accept", each.encode()) for each in accept]
    return Request(
        {"type": "http", "method": "GET", "path": "/v2/studies", "query_string": query.encode(), "headers": headers}
    )


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
