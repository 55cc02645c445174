"""The credential of the storage clients: who asks for a token, how often, and what the others hear."""

import asyncio

import pytest
from azure.identity.aio import DefaultAzureCredential

from shared.errors import Unavailable
from shared.storage.identity import PAUSE, Identity
from tests.e2e.identity import IdentityEndpoint, identity_endpoint, json_answer

SCOPE = "https://storage.azure.com/.default"


async def outcome(identity: Identity) -> str:
    try:
        return (await identity.get_token_info(SCOPE)).token
    except Unavailable as error:
        return str(error)


def credential(endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch) -> DefaultAzureCredential:
    for name, value in endpoint.environment().items():
        monkeypatch.setenv(name, value)
    return DefaultAzureCredential()


async def test_many_who_wait_get_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with identity_endpoint() as endpoint:
        async with Identity(credential(endpoint, monkeypatch), lambda: 1000.0) as identity:
            told = await asyncio.gather(*(outcome(identity) for _ in range(50)))
    assert set(told) == set(endpoint.given)
    assert len(endpoint.asked) == 1


async def test_a_failure_is_told_to_all_for_a_moment_and_then_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    with identity_endpoint() as endpoint:
        endpoint.misbehaviour = lambda: json_answer({"message": "PRIVATE-0815"}, 400)
        async with Identity(credential(endpoint, monkeypatch), lambda: now) as identity:
            told = await asyncio.gather(*(outcome(identity) for _ in range(50)))
            assert set(told) == {"there is no token for storage (ClientAuthenticationError)"}
            assert len(endpoint.asked) == 1
            endpoint.misbehaviour = None
            now += PAUSE - 0.1
            assert await outcome(identity) == told[0]
            now += 0.2
            assert await outcome(identity) in endpoint.given
    assert len(endpoint.asked) == 2
