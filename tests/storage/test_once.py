"""What is read once: one attempt for all who wait, and a failure that is told instead of repeated."""

import asyncio

import pytest
from azure.core.exceptions import HttpResponseError

from shared.errors import Unavailable
from shared.storage import once
from shared.storage.failures import unavailable
from shared.storage.once import Once


class Reading:
    """Answers after a moment, or fails."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.reads = 0

    async def __call__(self) -> int:
        self.reads += 1
        await asyncio.sleep(0.02)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_it_is_read_once_for_all_who_need_it() -> None:
    value, reading = Once[int](), Reading(0)
    assert await asyncio.gather(*(value.get(reading) for _ in range(20))) == [0] * 20
    assert await value.get(reading) == 0
    assert reading.reads == 1


async def test_a_failure_is_told_to_all_who_wait_and_for_a_moment_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "PAUSE", 0.2)
    value, reading = Once[int](), Reading(Unavailable("away"), 7)
    told = await asyncio.gather(*(value.get(reading) for _ in range(20)), return_exceptions=True)
    assert {str(each) for each in told} == {"away"}
    with pytest.raises(Unavailable, match="away"):
        await value.get(reading)
    assert reading.reads == 1
    await asyncio.sleep(0.25)
    assert await value.get(reading) == 7


async def test_whoever_goes_does_not_keep_others_waiting() -> None:
    value, reading = Once[int](), Reading(1)
    first = asyncio.create_task(value.get(reading))
    second = asyncio.create_task(value.get(reading))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1
    assert reading.reads == 2


class Answer:
    """As much of an answer as an error of the SDK looks at."""

    def __init__(self, status: int, reason: str) -> None:
        self.status_code, self.reason = status, reason


@pytest.mark.parametrize(
    ("status", "reason", "code", "text"),
    [
        (404, "Not Found", None, "the index answered 404 (Not Found)"),
        (
            404,
            "The specified container does not exist.",
            "ContainerNotFound",
            "the index answered 404 (ContainerNotFound)",
        ),
        (500, "GET /x?$filter=Doe^Jane", None, "the index answered 500"),
        (503, "Server busy", "1.2.840.10008", "the index answered 503"),
        (999, "Odd", None, "the index answered 999 (Odd)"),
    ],
)
def test_of_an_answer_of_storage_only_status_and_code_are_passed_on(
    status: int, reason: str, code: str | None, text: str
) -> None:
    error = HttpResponseError("text that nobody sees", Answer(status, reason))
    error.error_code = code  # type: ignore[attr-defined]
    assert str(unavailable("the index", error)) == text
