"""Which answer each error becomes, and what of it is told to whom."""

import logging

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared import errors
from shared.errors import CannotTranscode, ServiceError, Unavailable
from shared.web.problems import STATUS, answering_problems, problem
from shared.web.resource import accept_of, refuse_markup


def classes(base: type[ServiceError] = ServiceError) -> set[type[ServiceError]]:
    return {each for child in base.__subclasses__() for each in {child} | classes(child)}


def test_every_error_of_the_service_has_a_status() -> None:
    assert {each for each in classes() if each.__module__ == errors.__name__} == {*STATUS, CannotTranscode}
    for each in classes():
        assert problem(each("why")).status_code >= 400


def test_a_derived_error_has_the_status_of_its_base() -> None:
    assert problem(CannotTranscode("no codec")).status_code == 406


@pytest.mark.parametrize("error", [each for each in STATUS if each is not Unavailable])
def test_the_text_of_an_error_is_told_as_plain_text(error: type[ServiceError]) -> None:
    answer = problem(error("the reason"))
    assert answer.body == b"the reason"
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.status_code == STATUS[error]


def test_failing_storage_is_told_without_its_reason_which_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = problem(Unavailable("the index answered 500 (Busy)"))
    assert answer.status_code == 503
    assert b"index" not in bytes(answer.body)
    assert "retry-after" in answer.headers
    assert "the index answered 500 (Busy)" in caplog.text


async def test_an_unforeseen_error_is_told_and_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    @answering_problems
    async def failing() -> Response:
        raise KeyError("Doe^Jane")

    answer = await failing()
    assert answer.status_code == 500
    assert b"Doe" not in bytes(answer.body)
    assert "KeyError" in caplog.text
    assert "test_problems.py" in caplog.text
    assert "Doe" not in caplog.text


def test_a_client_that_has_gone_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    assert problem(ClientDisconnect()).status_code == 400
    assert not caplog.records


def asked(query: str, *accept: str) -> Request:
    headers = [(b"accept", each.encode()) for each in accept]
    return Request(
        {"type": "http", "method": "GET", "path": "/v2/studies", "query_string": query.encode(), "headers": headers}
    )


@pytest.mark.parametrize("query", ["a=<", "a=%3c", "a=%3C", "<=1", "a=1&b=%3Cx"])
def test_markup_in_a_query_is_refused(query: str) -> None:
    with pytest.raises(errors.BadRequest):
        refuse_markup(asked(query))


@pytest.mark.parametrize("query", ["", "a=%3e", "a=lt", "a=%253c", "a=3c"])
def test_other_queries_are_not(query: str) -> None:
    refuse_markup(asked(query))


def test_accept_in_the_query_takes_the_place_of_the_header() -> None:
    assert [each.media for each in accept_of(asked("accept=application/dicom%2Bjson", "text/html"))] == [
        "application/dicom+json"
    ]
    assert [each.media for each in accept_of(asked("", "text/html", "image/png"))] == ["text/html", "image/png"]
