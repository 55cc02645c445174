"""Whether storage answers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.errors import ServiceError
from shared.storage.archive import Archive


@dataclass(frozen=True, slots=True)
class Condition:
    """What one part of storage answered; `reason` is empty when it is well."""

    name: str
    reason: str


class HealthService:
    """Looks after one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def check(self) -> list[Condition]:
        """Ask blobs and index whether they answer; never raises for those that do not."""
        return list(
            await asyncio.gather(
                _condition("blobs", self._archive.blobs.check),
                _condition("index", self._archive.index.check),
            )
        )


async def _condition(name: str, check: Callable[[], Awaitable[None]]) -> Condition:
    try:
        await check()
    except ServiceError as error:
        return Condition(name, str(error))
    return Condition(name, "")
