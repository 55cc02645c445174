"""Awaiting the same call for many arguments, a bounded number at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
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
