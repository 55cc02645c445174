"""The keys in hand, and when they are asked for again.

    none yet          a request asks, and waits; while the issuer fails, one request every `RETRY` seconds tries again
    older than `AGE`  a request has them renewed, and does not wait
    unknown name      a request has them renewed, and waits; at most once in `COOLDOWN` seconds, so that made-up names
                      cost the issuer next to nothing

Requests that wait, wait for the same answer. Keys that were had once count until newer ones arrive: a service that
knows the keys of its issuer can do without it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.auth.documents import Undelivered
from shared.auth.keys import Keys
from shared.errors import Unavailable, describe

logger = logging.getLogger(__name__)

#: Seconds after which keys are renewed. An issuer that withdraws one is obeyed about that late.
AGE = 3600.0
#: Seconds between two renewals that unknown names, or keys that have aged, bring about.
COOLDOWN = 30.0
#: Seconds between two attempts while there are no keys.
RETRY = 3.0

_LONG_AGO = float("-inf")


class KeyRing:
    """The keys of one issuer, for one event loop."""

    def __init__(self, fetch: Callable[[], Awaitable[Keys]], now: Callable[[], float]) -> None:
        """`fetch` asks the issuer, and raises Undelivered; `now` gives seconds."""
        self._fetch = fetch
        self._now = now
        self._keys: Keys | None = None
        self._asking: asyncio.Task[None] | None = None
        self._had_at = self._asked_at = self._prompted_at = _LONG_AGO

    async def key(self, name: str) -> RSAPublicKey | None:
        """The key of this name, if the issuer has it. Raises Unavailable while there are no keys at all."""
        if self._keys is None and (self._asking or self._is_over(self._asked_at, RETRY)):
            await self._answer()
        if self._keys is None:
            raise Unavailable("the keys of the issuer of tokens cannot be had")
        if self._is_over(self._had_at, AGE) and self._is_over(self._asked_at, COOLDOWN):
            self._ask()
        if name in self._keys:
            return self._keys[name]
        if self._asking is None and self._is_over(self._prompted_at, COOLDOWN):
            self._prompted_at = self._now()
            self._ask()
        if self._asking is not None:
            await self._answer()
        return self._keys.get(name)

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None:
            self._asked_at = self._now()
            self._asking = asyncio.create_task(self._renew())
        return self._asking

    async def _answer(self) -> None:
        """Wait for what is asked. A client that goes does not end it for others."""
        await asyncio.shield(self._ask())

    async def _renew(self) -> None:
        try:
            self._keys = await self._fetch()
            self._had_at = self._now()
        except Undelivered as error:
            logger.warning("the keys of the issuer of tokens cannot be had: %s", error)
        except Exception as error:
            # A defect, which nobody may be waiting to hear of.
            logger.error("the keys of the issuer of tokens were not fetched: %s", describe(error))
        finally:
            self._asking = None

    def _is_over(self, since: float, seconds: float) -> bool:
        # A clock that was set back must not make anybody wait until it has caught up.
        return not 0 <= self._now() - since < seconds
