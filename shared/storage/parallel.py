"""Awaiting the same call for many arguments, a bounded number at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import batched

#: Storage calls that one operation has under way at a time: enough to hide their latency, few enough that requests side
#: by side do not crowd one another out of the SDK's hundred connections.
PARALLEL_CALLS = 16


async def in_parallel[A, T](call: Callable[[A], Awaitable[T]], arguments: Iterable[A]) -> list[T]:
    """The results of a call for each argument, in order; the first error of a batch is raised."""
    results: list[T] = []
    for batch in batched(arguments, PARALLEL_CALLS, strict=False):
        results += await asyncio.gather(*map(call, batch))
    return results


async def for_each[A](call: Callable[[A], Awaitable[None]], arguments: AsyncIterator[A], at_once: int) -> None:
    """Await a call for each argument, `at_once` of them at a time; an argument is taken only when its turn has come.

    The first error is raised, and what else is under way is cancelled.
    """
    taking = asyncio.Lock()

    async def work() -> None:
        while True:
            async with taking:
                try:
                    argument = await anext(arguments)
                except StopAsyncIteration:
                    return
            await call(argument)

    workers = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            # Whoever is being cancelled already may be undoing something, which must not be interrupted as well.
            if not worker.cancelling():
                worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def each_of[A](arguments: Iterable[A]) -> AsyncIterator[A]:
    """Arguments that are there already, for `for_each`."""
    for argument in arguments:
        yield argument
