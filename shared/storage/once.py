"""What is read once, when it is first needed, and then held; and how a failure to read it is told.

Those who need it at the same time wait for one attempt. Where storage does not answer, an attempt takes seconds: what
one has found out counts for those who waited and for `PAUSE` seconds, so that nobody waits for more than one.
"""

import asyncio
from collections.abc import Awaitable, Callable

from shared.errors import Unavailable

#: Seconds for which nobody asks again after a failure.
PAUSE = 2.0


class Once[T]:
    """A value of one event loop."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._reading = asyncio.Lock()
        self._again = 0.0
        self._reason = ""

    async def get(self, read: Callable[[], Awaitable[T]]) -> T:
        """The value, from `read` if nobody has read it. Raises Unavailable when that does, or did a moment ago."""
        if self._value is None:
            async with self._reading:
                return await self._read(read)
        return self._value

    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        if self._value is not None:  # whoever had the lock before has read it
            return self._value
        clock = asyncio.get_running_loop()
        if clock.time() < self._again:
            raise Unavailable(self._reason)
        try:
            self._value = await read()
        except Unavailable as error:
            self._again, self._reason = clock.time() + PAUSE, str(error)
            raise
        return self._value
