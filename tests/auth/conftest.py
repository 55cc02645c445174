"""An issuer on this machine, a clock that stands still, and gates that are closed after the test."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from shared.auth.gate import Gate, gate_of
from tests.auth.gates import TENANT, Clock, settings_for
from tests.auth.issuer import LocalIssuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    """An OpenID provider."""
    with LocalIssuer() as local:
        yield local


@pytest.fixture
def entra() -> Iterator[LocalIssuer]:
    """A tenant of Microsoft Entra."""
    with LocalIssuer(TENANT) as local:
        yield local


@pytest.fixture
async def gate_for(clock: Clock) -> AsyncIterator[Callable[..., Gate]]:
    """Makes gates for an issuer, with other settings where the test says so."""
    gates = []

    def made(local: LocalIssuer, **settings: Any) -> Gate:
        gates.append(gate_of(settings_for(local, **settings), clock))
        return gates[-1]

    yield made
    for each in gates:
        await each.close()


@pytest.fixture
def gate(gate_for: Callable[..., Gate], issuer: LocalIssuer) -> Gate:
    """A gate for tokens of the OpenID provider."""
    return gate_for(issuer)
