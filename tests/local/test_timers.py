"""When timer triggers run."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from local.settings import LocalError
from local.timers import Timer, next_run, resolve_schedule, run_timer, timer_request


def test_the_first_field_of_six_is_the_second() -> None:
    assert next_run("30 5 * * * *", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 0, 5, 30, tzinfo=UTC)


def test_five_fields_have_no_seconds() -> None:
    assert next_run("5 * * * *", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


def test_a_schedule_may_name_a_setting() -> None:
    assert resolve_schedule("f", "%WHEN%", {"WHEN": "0 */5 * * * *"}) == "0 */5 * * * *"


@pytest.mark.parametrize(("schedule", "sentence"), [("%NONE%", "the setting NONE"), ("00:05:00", "NCRONTAB")])
def test_a_schedule_that_cannot_be_followed_is_refused(schedule: str, sentence: str) -> None:
    with pytest.raises(LocalError, match=sentence):
        resolve_schedule("f", schedule, {})


def test_the_function_is_told_the_last_and_the_next_run() -> None:
    request = json.loads(timer_request(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)))
    assert request["IsPastDue"] is False
    assert request["ScheduleStatus"]["Last"] == "2026-01-01T00:00:00+00:00"
    assert request["ScheduleStatus"]["Next"] == "2026-01-02T00:00:00+00:00"


async def test_a_timer_that_fails_runs_again() -> None:
    runs: list[str] = []

    async def invoke(timer: Timer, _request: str) -> None:
        runs.append(timer.name)
        raise RuntimeError

    task = asyncio.create_task(run_timer(Timer("f", "id", "timer", "* * * * * *"), invoke))
    await asyncio.sleep(2.2)
    task.cancel()
    assert len(runs) >= 2
