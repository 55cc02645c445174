"""What goes around every function: the order of its checks, what all answers have, and what is written of them."""

import asyncio
import gc
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from shared.auth.actions import Action, Caller
from shared.dicomweb.versions import SUPPORTED_VERSIONS
from shared.errors import InvalidToken, NotFound, SettingError, Unauthenticated, Unavailable
from shared.web.cors import Cors
from shared.web.edge import BrokenOff, Edge, HttpFunction, Kind, Refusal
from shared.web.journal import MAX_STUDIES, Journal
from shared.web.resource import note_studies
from tests.web.requests import asked

HERE = "https://viewer.example.org"
SUBJECT = "3f8d"
UID = "1.2.840.1"


class Readers:
    """A gate that knows one token, whose bearer may read."""

    challenge = 'Bearer authorization_uri="https://issuer.example"'

    async def admit(self, authorization: Sequence[str]) -> Caller:
        if list(authorization) != ["Bearer good"]:
            raise InvalidToken("It does not count.") if authorization else Unauthenticated("There is no token.")
        return Caller(SUBJECT, "viewer", frozenset({Action.READ}))

    async def close(self) -> None:
        """Nothing is held."""


async def called(uid: str) -> str:
    return f"name-of-{uid}"


def edge(name_of_study: Callable[[str], Awaitable[str]] = called) -> Edge:
    return Edge(Readers(), Cors(HERE, 60), Journal(name_of_study), time.perf_counter, lambda: secrets.token_hex(16))


GOOD = {"Authorization": "Bearer good"}


@dataclass
class Function:
    """A function that answers, or fails, and knows how often it was asked."""

    answer: Response | Exception | None = None
    calls: int = 0

    def at(self, kind: Kind, around: Edge | None = None) -> HttpFunction:
        async def retrieve_study(request: Request) -> Response:
            self.calls += 1
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer or Response(b"text", 200)

        return (around or edge()).operation(kind)(retrieve_study)


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(each.getMessage()) for each in caplog.records if each.name.startswith("dicomweb.")]


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# Who may


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.action])
async def test_without_a_token_nothing_is_done_and_the_answer_says_whose_token_it_takes(kind: Kind) -> None:
    function = Function()
    answer = await function.at(kind)(asked("a=<", {"Accept": "no/such"}))
    assert (answer.status_code, function.calls) == (401, 0)
    assert answer.headers["www-authenticate"] == Readers.challenge


async def test_a_token_that_does_not_count_is_called_so() -> None:
    answer = await Function().at(Kind.QUERY)(asked(headers={"Authorization": "Bearer bad"}))
    assert answer.headers["www-authenticate"] == f'{Readers.challenge}, error="invalid_token"'


@pytest.mark.parametrize("kind", [Kind.STORE, Kind.DELETE])
async def test_a_token_without_the_right_is_not_enough(kind: Kind) -> None:
    function = Function()
    answer = await function.at(kind)(asked(headers=GOOD))
    assert (answer.status_code, answer.body, function.calls) == (403, b"Authorization failed.", 0)
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.action is Action.READ])
async def test_a_token_with_the_right_is(kind: Kind) -> None:
    function = Function()
    assert (await function.at(kind)(asked(headers=GOOD))).status_code == 200
    assert function.calls == 1


async def test_anybody_may_read_descriptions() -> None:
    assert (await Function().at(Kind.DESCRIPTION)(asked())).status_code == 200


@pytest.mark.parametrize("headers", [{}, GOOD])
async def test_the_body_of_a_request_that_is_refused_is_read_on(headers: dict[str, str]) -> None:
    request = asked(headers=headers, method="POST", body=(b"DICM", b"more"))
    assert (await Function().at(Kind.STORE)(request)).status_code in (401, 403)
    assert request.state.left == []


# What no request may have


@pytest.mark.parametrize("query", ["a=<", "a=%3c", "a=%3C", "<=1", "a=1&b=%3Cx"])
async def test_markup_in_a_query_is_refused(query: str) -> None:
    function = Function()
    request = asked(query, GOOD, body=(b"DICM", b"more"))
    assert (await function.at(Kind.QUERY)(request)).status_code == 400
    assert (function.calls, request.state.left) == (0, [])


@pytest.mark.parametrize("query", ["", "a=%3e", "a=lt", "a=%253c", "a=3c"])
async def test_other_queries_are_not(query: str) -> None:
    assert (await Function().at(Kind.QUERY)(asked(query, GOOD))).status_code == 200


# Browsers


@pytest.mark.parametrize("kind", Kind)
async def test_a_preflight_needs_no_token_and_is_not_logged(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    headers = {
        "Origin": HERE,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization",
    }
    function = Function()
    answer = await function.at(kind)(asked(headers=headers, method="OPTIONS"))
    assert (answer.status_code, function.calls) == (204, 0)
    assert answer.headers["access-control-allow-methods"] == "PUT"
    assert answer.headers["access-control-allow-headers"] == "authorization"
    assert records(caplog) == []


async def test_options_of_others_has_an_empty_answer_but_where_it_describes() -> None:
    function = Function()
    assert (await function.at(Kind.STORE)(asked(method="OPTIONS"))).status_code == 204
    assert function.calls == 0
    assert (await function.at(Kind.DESCRIPTION)(asked(method="OPTIONS"))).status_code == 204
    assert (await function.at(Kind.CAPABILITIES)(asked(method="OPTIONS"))).status_code == 200


@pytest.mark.parametrize("headers", [{}, GOOD])
async def test_a_page_may_read_every_answer_also_a_refusal(headers: dict[str, str]) -> None:
    answer = Response(b"", 200, {"Vary": "Accept"})
    given = await Function(answer).at(Kind.QUERY)(asked(headers={**headers, "Origin": HERE}))
    assert given.headers["access-control-allow-origin"] == HERE
    assert "Origin" in given.headers["vary"]
    assert ("Accept" in given.headers["vary"]) == (given.status_code == 200)


# What every answer has


@pytest.mark.parametrize("answer", [None, NotFound("no"), KeyError("Doe^Jane"), StreamingResponse(iter([b"1"]))])
async def test_every_answer_names_versions_and_request(answer: Response | Exception | None) -> None:
    given = await Function(answer).at(Kind.RETRIEVE)(asked(headers=GOOD))
    assert given.headers["api-supported-versions"] == SUPPORTED_VERSIONS
    assert len(given.headers["x-ms-request-id"]) == 32


TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_a_request_that_belongs_to_a_trace_is_named_by_it() -> None:
    given = await Function().at(Kind.QUERY)(asked(headers={**GOOD, "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}))
    assert given.headers["x-ms-request-id"] == TRACE


@pytest.mark.parametrize("end", ["-01-more", "-01-"])
async def test_a_later_version_of_the_header_may_say_more(end: str) -> None:
    parent = f"01-{TRACE}-b7ad6b7169203331{end}"
    given = await Function().at(Kind.QUERY)(asked(headers={**GOOD, "traceparent": parent}))
    assert given.headers["x-ms-request-id"] == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        *("", "00-xyz", "00-Doe^Jane-b7ad6b7169203331-01", "1.2.840.10008.1.2"),
        *(f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-b7ad6b7169203331-01"),
        *(
            f"00-{TRACE}-b7ad6b7169203331-01xxx",
            f"00-{TRACE}-b7ad6b7169203331-01-more",
            f"01-{TRACE}-b7ad6b7169203331-01x",
        ),
    ],
)
async def test_what_is_no_trace_is_not_repeated(parent: str) -> None:
    given = await Function().at(Kind.QUERY)(asked(headers={**GOOD, "traceparent": parent}))
    assert given.headers["x-ms-request-id"] not in parent


# What is written


async def test_a_request_leaves_a_line_and_an_audit_record(caplog: pytest.LogCaptureFixture) -> None:
    given = await Function().at(Kind.RETRIEVE)(asked(headers=GOOD, version="v2", study=UID))
    request, audit = records(caplog)
    assert request.pop("ms") >= 0
    correlation = given.headers["x-ms-request-id"]
    assert request == {
        "record": "request",
        "correlation": correlation,
        "operation": "retrieve_study",
        "method": "GET",
        "status": 200,
        "bytes": 4,
        "storageCalls": 0,
        "storageSent": 0,
        "storageReceived": 0,
    }
    assert audit == {
        "record": "audit",
        "correlation": correlation,
        "operation": "Retrieve",
        "method": "GET",
        "status": 200,
        "caller": SUBJECT,
        "application": "viewer",
        "studies": [f"name-of-{UID}"],
    }


async def test_the_audit_log_names_who_was_refused_and_what_he_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    await Function().at(Kind.DELETE)(asked(headers=GOOD, method="DELETE", version="v2", study=UID))
    await Function().at(Kind.DELETE)(asked(method="DELETE", version="v2", study=UID))
    told = [(each["status"], each["caller"], each["studies"]) for each in records(caplog) if each["record"] == "audit"]
    assert told == [(403, SUBJECT, [f"name-of-{UID}"]), (401, None, [f"name-of-{UID}"])]


async def test_what_is_no_uid_is_no_study(caplog: pytest.LogCaptureFixture) -> None:
    await Function().at(Kind.RETRIEVE)(asked(headers=GOOD, version="v2", study="Doe^Jane"))
    assert "Doe" not in caplog.text


async def test_studies_that_a_handler_met_are_named_up_to_a_number(caplog: pytest.LogCaptureFixture) -> None:
    request = asked(headers=GOOD, version="v2", study=UID)
    note_studies(request, [UID, *(f"{UID}.{number}" for number in range(MAX_STUDIES + 9))])
    await Function().at(Kind.RETRIEVE)(request)
    audit = records(caplog)[-1]
    assert len(set(audit["studies"])) == len(audit["studies"]) == MAX_STUDIES
    assert audit["unnamed"] == 10


@pytest.mark.parametrize("error", [Unavailable("the index could not be reached"), KeyError("key")])
async def test_a_study_that_cannot_be_named_does_not_keep_the_record_away(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def unnamed(_: str) -> str:
        raise error

    function = Function().at(Kind.RETRIEVE, edge(unnamed))
    assert (await function(asked(headers=GOOD, version="v2", study=UID))).status_code == 200
    audit = records(caplog)[-1]
    assert (audit["studies"], audit["unnamed"]) == ([], 1)


@pytest.mark.parametrize(
    ("error", "level", "told"),
    [
        (NotFound("no such study"), logging.INFO, None),
        (Unavailable("the index answered 500 (Busy)"), logging.WARNING, "the index answered 500 (Busy)"),
        (KeyError("Doe^Jane"), logging.ERROR, "KeyError < test_edge.py"),
    ],
)
async def test_what_went_wrong_here_is_told_by_its_place_and_never_by_its_text(
    error: Exception, level: int, told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    await Function(error).at(Kind.RETRIEVE)(asked(headers=GOOD))
    (line,) = [each for each in caplog.records if each.name == "dicomweb.request"]
    said = records(caplog)[0].get("error")
    assert line.levelno == level
    assert (said is None) == (told is None)
    assert told is None or said.startswith(told)
    assert "Doe" not in caplog.text


async def sent(answer: Response) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody asks whether the client is there")

    await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    return messages


async def test_a_body_that_has_left_leaves_a_line(caplog: pytest.LogCaptureFixture) -> None:
    function = Function(StreamingResponse(iter([b"123", b"4567"])))
    messages = await sent(await function.at(Kind.RETRIEVE)(asked(headers=GOOD)))
    assert b"".join(each.get("body", b"") for each in messages) == b"1234567"
    line = records(caplog)[-1]
    assert (line["record"], line["bytes"], line["complete"]) == ("sent", 7, True)
    assert line["correlation"] == records(caplog)[0]["correlation"]


async def test_a_body_that_breaks_off_says_so_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    def body() -> Any:
        yield b"123"
        raise KeyError("Doe^Jane")

    answer = await Function(StreamingResponse(body())).at(Kind.RETRIEVE)(asked(headers=GOOD))
    with pytest.raises(BrokenOff) as raised:
        await sent(answer)
    assert raised.value.__suppress_context__
    line = records(caplog)[-1]
    assert (line["record"], line["bytes"], line["complete"]) == ("sent", 3, False)
    assert line["error"].startswith("KeyError")
    assert "Doe" not in caplog.text


async def test_a_body_is_closed_when_its_client_hangs_up() -> None:
    """At once, and not when somebody collects garbage: what it has read ahead is let go of."""
    closed = asyncio.Event()
    asked_for_more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"123"
        finally:
            closed.set()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            asked_for_more.set()
            await asyncio.sleep(3600)

    async def receive() -> Message:
        await asked_for_more.wait()
        return {"type": "http.disconnect"}

    gc.disable()
    try:
        answer = await Function(StreamingResponse(body())).at(Kind.RETRIEVE)(asked(headers=GOOD))
        await answer({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
        assert closed.is_set()
    finally:
        gc.enable()


# Timers


@dataclass
class Did:
    """What a job says it did."""

    blobs: int


async def test_a_job_leaves_a_line_of_what_it_did(caplog: pytest.LogCaptureFixture) -> None:
    async def sweep(_: object) -> Did:
        return Did(3)

    await edge().job(sweep)(None)
    (line,) = records(caplog)
    assert (line["record"], line["job"], line["did"], "error" in line) == ("job", "sweep", {"blobs": 3}, False)


async def test_a_job_that_failed_has_failed_for_the_platform_too(caplog: pytest.LogCaptureFixture) -> None:
    async def sweep(_: object) -> Did:
        raise KeyError("Doe^Jane")

    with pytest.raises(RuntimeError, match="the job failed"):
        await edge().job(sweep)(None)
    (line,) = records(caplog)
    assert line["error"].startswith("KeyError < test_edge.py")
    assert "Doe" not in caplog.text


# A service that cannot work


async def test_a_service_that_is_not_configured_says_which_setting_it_lacks() -> None:
    refusal = Refusal(SettingError("AUTHENTICATION must be required or disabled"))
    function = Function()

    async def retrieve_study(_: Request) -> Response:
        function.calls += 1
        return Response()

    request = asked(headers=GOOD, method="POST", body=(b"DICM",))
    answer = await refusal.operation(Kind.STORE)(retrieve_study)(request)
    assert (answer.status_code, function.calls, request.state.left) == (503, 0, [])
    assert bytes(answer.body).decode() == (
        "The service is not configured: AUTHENTICATION must be required or disabled."
    )

    async def sweep(_: object) -> Did:
        raise AssertionError("never called")

    with pytest.raises(RuntimeError, match="AUTHENTICATION must be"):
        await refusal.job(sweep)(None)
