"""The gate every request passes: from the Authorization header to a caller.

Which header, signature and claims count is decided in tokens.py, what they allow in grants.py, whose they must be in
trust.py, and how the issuer's keys are kept in keyring.py. Whether a caller may do what the request asks for is not
decided here.

A token is checked with each request: that takes a tenth of a millisecond, and a memory of tokens would have to forget
them when their keys are withdrawn.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from shared.auth.actions import Action, Caller
from shared.auth.grants import Grants
from shared.auth.keyring import KeyRing
from shared.auth.keys import KeySource
from shared.auth.tokens import application_of, bearer_token, claims_of, key_name, subject_of
from shared.auth.trust import Trust, trust_of
from shared.config import Settings
from shared.errors import InvalidToken, SettingError


class Gate(Protocol):
    """Lets requests in."""

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate for whoever is not let in."""

    async def admit(self, authorization: Sequence[str]) -> Caller:
        """Who asks, by the Authorization headers.

        Raises Unauthenticated, which is InvalidToken if there was a token, and Unavailable without the issuer's keys.
        """

    async def close(self) -> None:
        """Give back what the gate holds."""


class OpenGate:
    """Lets everybody in, for everything."""

    challenge = "Bearer"

    async def admit(self, authorization: Sequence[str]) -> Caller:
        """Anybody."""
        return Caller("", "", frozenset(Action))

    async def close(self) -> None:
        """Nothing is held."""


class TokenGate:
    """Lets in whoever brings a token that counts."""

    def __init__(self, trust: Trust, grants: Grants, keys: KeyRing, now: Callable[[], float]) -> None:
        """`now` gives seconds since 1970."""
        self._trust = trust
        self._grants = grants
        self._keys = keys
        self._now = now

    @property
    def challenge(self) -> str:
        """RFC 6750 §3, with the parameters of the original service; clients find the issuer by them."""
        audience = self._trust.audiences[0]
        return f'Bearer authorization_uri="{self._trust.authority}", resource_id="{audience}", realm="{audience}"'

    async def admit(self, authorization: Sequence[str]) -> Caller:
        """Whom the token is about."""
        token = bearer_token(authorization)
        key = await self._keys.key(key_name(token))
        if key is None:
            raise InvalidToken("The token is signed with a key that the issuer does not have.")
        claims = claims_of(token, key, self._trust, self._now())
        return Caller(
            subject_of(claims, self._trust), application_of(claims, self._trust), self._grants.actions(claims)
        )

    async def close(self) -> None:
        """Stop asking for keys."""
        await self._keys.close()


def gate_of(settings: Settings, now: Callable[[], float]) -> Gate:
    """The gate for some settings; `now` gives seconds since 1970. Connects to nothing yet.

    Raises SettingError naming the setting that is missing or malformed.
    """
    if settings.authentication == "disabled":
        return OpenGate()
    if settings.authentication != "required":
        raise SettingError(
            "AUTHENTICATION must be required or disabled: nobody has decided whether requests need a token"
        )
    trust = trust_of(settings)
    return TokenGate(
        trust, Grants(settings.auth_roles, settings.auth_roles_claim), KeyRing(KeySource(trust).fetch, now), now
    )
