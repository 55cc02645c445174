"""Calls for many arguments, a bounded number at a time, and what becomes of them when one fails."""

import asyncio

import pytest

from shared.storage.parallel import each_of, for_each


async def test_so_many_are_under_way_and_arguments_are_taken_only_then() -> None:
    taken, running, most = [], 0, 0

    async def arguments():  # type: ignore[no-untyped-def]
        for number in range(20):
            taken.append(number)
            yield number

    async def call(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert len(taken) <= number + 3
        await asyncio.sleep(0)
        running -= 1

    await for_each(call, arguments(), 3)
    assert (taken, most) == (list(range(20)), 3)


async def test_the_first_error_ends_it_and_cancels_the_others() -> None:
    ended: list[str] = []

    async def call(number: int) -> None:
        if number == 1:
            raise ValueError("one")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # undoing something takes its time
            ended.append(f"undone {number}")
            raise

    with pytest.raises(ValueError, match="one"):
        await for_each(call, each_of([0, 1, 2, 3]), 3)
    assert sorted(ended) == ["undone 0", "undone 2"]


async def test_who_is_cancelled_may_undo_what_was_done() -> None:
    ended: list[int] = []

    async def call(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(number)

    task = asyncio.create_task(for_each(call, each_of([1, 2]), 2))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [1, 2]
