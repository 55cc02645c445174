"""The service's own identity towards storage: one credential for both clients, asked as seldom as can be.

Facts:
- Each client of the SDKs asks for a token under a lock. While the platform's endpoint fails, which is found out after
  five seconds of repeating, those who wait ask again one after the other: fifty requests would take four minutes.
- The blob client takes a token that was not given for a failure of storage and tries three times more, with pauses.

So what fails is remembered for a moment and told to everybody, as an error of this service, which the SDKs pass on.
A token that is still good is renewed by the credential itself, which keeps the old one when that fails.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import AzureError
from azure.identity.aio import DefaultAzureCredential

from shared.errors import Unavailable

#: Seconds for which nobody asks again after a failure: as long as clients are told to wait.
PAUSE = 2.0


class Identity:
    """A credential of the SDKs."""

    def __init__(self, credential: DefaultAzureCredential, seconds: Callable[[], float]) -> None:
        """`seconds` is a clock that never goes back."""
        self._credential = credential
        self._seconds = seconds
        self._asking = asyncio.Lock()
        self._again = 0.0
        self._reason = ""

    async def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
        """A token for storage. Raises Unavailable when there is none, or was none a moment ago."""
        async with self._asking:
            if self._seconds() < self._again:
                raise Unavailable(self._reason)
            try:
                return await self._credential.get_token_info(*scopes, options=options)
            except AzureError as error:
                self._again = self._seconds() + PAUSE
                # The text of the error names the identity and the endpoint.
                self._reason = f"there is no token for storage ({type(error).__name__})"
                raise Unavailable(self._reason) from error

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """The same for clients that are older; the SDKs look for it to know a credential by."""
        token = await self.get_token_info(*scopes, options=options)
        return AccessToken(token.token, token.expires_on)

    async def close(self) -> None:
        """End the connections to where tokens come from."""
        await self._credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.close()
