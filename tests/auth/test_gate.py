"""The gate and its issuer over real HTTP: rotation, floods, failures, and what is never told."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from shared.auth.gate import Gate
from shared.auth.keyring import AGE, COOLDOWN, RETRY
from shared.errors import InvalidToken, ServiceError, Unauthenticated, Unavailable
from tests.auth.gates import NOW, Clock, admitted
from tests.auth.issuer import Answer, LocalIssuer, signing_key


async def refused_before_long(gate: Gate, token: str) -> None:
    """Wait for what was begun in the background: a token that was let in is not any more."""
    with pytest.raises(InvalidToken, match="does not have"):
        for _ in range(500):
            await admitted(gate, token)
            await asyncio.sleep(0.01)


async def test_a_rotated_key_counts_at_once(gate: Gate, issuer: LocalIssuer) -> None:
    before = issuer.token(NOW)
    await admitted(gate, before)
    issuer.rotate(keep=True)
    await admitted(gate, issuer.token(NOW))
    await admitted(gate, before)
    assert issuer.fetches == 2


async def test_a_withdrawn_key_does_not_count_once_that_is_known(gate: Gate, issuer: LocalIssuer, clock: Clock) -> None:
    before = issuer.sign(issuer.claims(NOW, exp=NOW + 10 * AGE))
    await admitted(gate, before)
    issuer.rotate()
    await admitted(gate, before)
    clock.now += AGE
    await admitted(gate, before)
    await refused_before_long(gate, before)
    assert issuer.fetches == 3


async def test_a_flood_of_unknown_keys_is_one_fetch_and_delays_nobody(
    gate: Gate, issuer: LocalIssuer, clock: Clock
) -> None:
    good = issuer.token(NOW)
    await admitted(gate, good)
    issuer.willing.clear()
    claims = issuer.claims(NOW)
    bad = [issuer.sign(claims, signing_key(1), kid=f"made-up-{number}") for number in range(500)]
    flood = [asyncio.create_task(admitted(gate, each)) for each in bad]
    await asyncio.sleep(0)
    # The issuer does not answer, and the flood waits for it; who has a good token does not.
    async with asyncio.timeout(2):
        for _ in range(20):
            assert await admitted(gate, good)
    assert not any(each.done() for each in flood)
    issuer.willing.set()
    refused = await asyncio.gather(*flood, return_exceptions=True)
    assert all(isinstance(each, InvalidToken) for each in refused)
    assert issuer.fetches == 2
    # Within the cooldown nobody waits, and nobody asks.
    issuer.willing.clear()
    async with asyncio.timeout(2):
        for each in bad:
            with pytest.raises(InvalidToken):
                await admitted(gate, each)
    issuer.willing.set()
    assert issuer.fetches == 2
    clock.now += COOLDOWN
    with pytest.raises(InvalidToken):
        await admitted(gate, bad[0])
    assert issuer.fetches == 3


async def test_without_an_issuer_nobody_is_let_in_until_it_is_back(
    gate: Gate, issuer: LocalIssuer, clock: Clock
) -> None:
    token = issuer.token(NOW)
    issuer.stop()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await admitted(gate, token)
    issuer.start()
    clock.now += RETRY
    assert await admitted(gate, token)


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(b"rubbish"), Answer(b"{}"), Answer(status=302)])
async def test_known_keys_outlive_the_issuer(gate: Gate, issuer: LocalIssuer, clock: Clock, answer: Answer) -> None:
    token = issuer.sign(issuer.claims(NOW, exp=NOW + 10 * AGE))
    await admitted(gate, token)
    issuer.misbehaviour = lambda path: answer
    clock.now += 2 * AGE
    for _ in range(3):
        assert await admitted(gate, token)
    await asyncio.sleep(0.05)
    assert await admitted(gate, token)
    with pytest.raises(InvalidToken):
        await admitted(gate, issuer.sign(issuer.claims(NOW), kid="made-up"))
    issuer.stop()
    assert await admitted(gate, token)


async def test_a_gate_can_be_closed_while_it_waits(gate: Gate, issuer: LocalIssuer) -> None:
    issuer.willing.clear()
    waiting = asyncio.create_task(admitted(gate, issuer.token(NOW)))
    await asyncio.sleep(0.05)
    await gate.close()
    await asyncio.wait([waiting], timeout=2)
    assert waiting.cancelled()


async def test_nothing_of_a_token_is_told_or_logged(
    gate_for: Callable[..., Gate], issuer: LocalIssuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "Doe-Jane-4711"
    claims = issuer.claims(NOW, sub=secret, azp=secret, name=secret, roles=[secret])
    tokens = [
        issuer.sign(claims),
        issuer.sign(claims, kid=secret),
        issuer.sign(claims, alg=secret),
        issuer.sign(claims, typ=secret),
        issuer.sign(claims, crit=[secret]),
        issuer.sign(claims, signing_key(1), kid=issuer.key.name),
        *(issuer.sign({**claims, name: secret}) for name in ("iss", "aud", "exp", "nbf", "iat")),
        issuer.sign({**claims, "sub": secret + "\n"}),
        issuer.sign({**claims, "exp": 0}),
        issuer.sign(secret),
        secret,
        f"{secret}.{secret}.{secret}",
        issuer.sign({**claims, "pad": secret * 2000}),
    ]
    told = []
    gate = gate_for(issuer)
    for token in tokens:
        try:
            told.append(str((await admitted(gate, token)).actions))
        except ServiceError as error:
            told += [str(error), repr(error)]
            assert error.__cause__ is None
            assert error.__suppress_context__ or error.__context__ is None
    for header in ([secret], [f"Basic {secret}"], [secret, secret]):
        with pytest.raises(Unauthenticated) as refused:
            await gate.admit(header)
        told.append(repr(refused.value))
    issuer.misbehaviour = lambda path: Answer(secret.encode(), 500, {"X-Secret": secret})
    clock.now += COOLDOWN
    with pytest.raises(InvalidToken):
        await admitted(gate, issuer.sign(claims, kid="made-up"))
    everything = "\n".join([*told, caplog.text])
    assert "answered 500" in everything
    assert secret not in everything
    segments = {each for token in tokens for each in token.split(".") if len(each) > 20}
    assert not [each for each in segments if each in everything]
