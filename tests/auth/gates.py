"""What the tests of tokens share: settings, time, and how a token is presented."""

from typing import Any

from shared.auth.actions import Caller
from shared.auth.gate import Gate
from shared.config import Settings
from tests.auth.issuer import AUDIENCE, LocalIssuer

TENANT = "7f0c1b1e-98a1-4a53-a2c9-0d2a9b3c4d5e"
NOW = 1_800_000_000


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def settings_with(**settings: Any) -> Settings:
    """Settings under which tokens are required, and nothing is said of them."""
    return Settings(
        **{"dicom_storage_connection": "UseDevelopmentStorage=true", "authentication": "required", **settings}
    )


def settings_for(local: LocalIssuer, **settings: Any) -> Settings:
    """Settings for tokens of an issuer."""
    of_issuer = (
        {"auth_authority": local.url, "auth_tenant_id": local.tenant} if local.tenant else {"auth_issuer": local.name}
    )
    return settings_with(**{"auth_audience": AUDIENCE, **of_issuer, **settings})


async def admitted(gate: Gate, token: str) -> Caller:
    """Whom a token lets in."""
    return await gate.admit([f"Bearer {token}"])


def short(value: object) -> str:
    """A name for a parameter."""
    return repr(value)[:20]
