"""Runs the timer triggers of an app by their NCRONTAB schedules, in UTC as Azure does.

One task per timer, so that a run that takes longer than its interval delays the next one and never overlaps it; what
was missed meanwhile is skipped. `runOnStartup` is ignored: a host that is restarted after every edit would run it all
day. `useMonitor` is ignored too: nothing is remembered between two starts, so no run is ever past due. Leaves out
schedules that are time spans, which Azure's Flex plan does not know either.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from croniter import croniter

from local.settings import LocalError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timer:
    """A function with a timer trigger."""

    name: str
    function_id: str
    parameter: str
    #: Six fields, seconds first; or five, without seconds.
    schedule: str


def resolve_schedule(name: str, schedule: str, settings: Mapping[str, str]) -> str:
    """The schedule with every `%SETTING%` replaced. Raises LocalError when one is missing or it is no schedule."""

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in settings:
            raise LocalError(f"The schedule of {name} names the setting {match[1]}, which has no value.")
        return settings[match[1]]

    resolved = re.sub(r"%([^%]+)%", value_of, schedule).strip()
    if len(resolved.split()) not in (5, 6) or not croniter.is_valid(resolved, second_at_beginning=True):
        raise LocalError(f"The schedule of {name} is not an NCRONTAB expression: {resolved!r}.")
    return resolved


def next_run(schedule: str, after: datetime) -> datetime:
    """The first moment later than `after` that the schedule names."""
    following: datetime = croniter(schedule, after, second_at_beginning=True).get_next(datetime)
    return following


async def run_timer(timer: Timer, invoke: Callable[[Timer, str], Awaitable[None]]) -> None:
    """Calls `invoke` with the timer and its TimerRequest as JSON whenever it is due, until cancelled."""
    last = datetime.now(UTC)
    due = next_run(timer.schedule, last)
    while True:
        # In steps, because a laptop that sleeps does not advance the clock that asyncio.sleep goes by.
        while (seconds := (due - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 - it waits for a clock
            await asyncio.sleep(min(seconds, 30))
        started = datetime.now(UTC)
        following = next_run(timer.schedule, max(due, started))
        try:
            await invoke(timer, timer_request(last, following))
        except Exception:
            _log.exception("timer %s could not be run", timer.name)
        last, due = started, next_run(timer.schedule, max(due, datetime.now(UTC)))


def timer_request(last: datetime, following: datetime) -> str:
    """What the Functions host tells a timer function."""
    moments = {"Last": last.isoformat(), "Next": following.isoformat(), "LastUpdated": last.isoformat()}
    return json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": moments, "IsPastDue": False})
