"""When the keys of an issuer are asked for, and what counts meanwhile; nothing here is on a network."""

import asyncio
import logging

import pytest

from shared.auth.documents import Undelivered
from shared.auth.keyring import AGE, COOLDOWN, RETRY, KeyRing
from shared.auth.keys import Keys
from shared.errors import Unavailable
from tests.auth.gates import Clock
from tests.auth.issuer import signing_key

KEYS = [signing_key(number).private.public_key() for number in range(2)]
OLD: Keys = {"old": KEYS[0]}
NEW: Keys = {"new": KEYS[1]}


class Source:
    """Has the keys it is given, after the event it is given, and counts how often it is asked."""

    def __init__(self, keys: Keys | Exception = OLD) -> None:
        self.keys = keys
        self.asked = 0
        self.willing = asyncio.Event()
        self.willing.set()

    async def fetch(self) -> Keys:
        self.asked += 1
        await self.willing.wait()
        if isinstance(self.keys, Exception):
            raise self.keys
        return self.keys


async def settled() -> None:
    """Let what was begun go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def ring(source: Source, clock: Clock) -> KeyRing:
    return KeyRing(source.fetch, clock)


async def test_keys_are_asked_for_once(ring: KeyRing, source: Source) -> None:
    assert source.asked == 0
    assert await asyncio.gather(*(ring.key("old") for _ in range(50))) == [KEYS[0]] * 50
    assert await ring.key("old") is KEYS[0]
    assert source.asked == 1


async def test_an_unknown_name_renews_the_keys_at_once(ring: KeyRing, source: Source) -> None:
    await ring.key("old")
    source.keys = NEW
    assert await ring.key("new") is KEYS[1]
    assert await ring.key("old") is None
    assert source.asked == 2


async def test_unknown_names_renew_the_keys_once_in_a_while(ring: KeyRing, source: Source, clock: Clock) -> None:
    await ring.key("old")
    assert await asyncio.gather(*(ring.key(f"made-up-{number}") for number in range(500))) == [None] * 500
    assert source.asked == 2
    clock.now += COOLDOWN - 1
    assert await ring.key("made-up") is None
    assert source.asked == 2
    clock.now += 1
    source.keys = NEW
    assert await ring.key("new") is KEYS[1]
    assert source.asked == 3


async def test_the_first_to_ask_may_have_an_unknown_name(ring: KeyRing, source: Source) -> None:
    assert await asyncio.gather(*(ring.key(f"made-up-{number}") for number in range(500))) == [None] * 500
    assert source.asked == 2
    assert await ring.key("old") is KEYS[0]
    assert source.asked == 2


async def test_a_known_name_does_not_wait_for_others(ring: KeyRing, source: Source) -> None:
    await ring.key("old")
    source.willing.clear()
    flood = [asyncio.create_task(ring.key(f"made-up-{number}")) for number in range(500)]
    await settled()
    assert await asyncio.wait_for(ring.key("old"), 1) is KEYS[0]
    assert not any(each.done() for each in flood)
    source.willing.set()
    assert await asyncio.gather(*flood) == [None] * 500
    assert source.asked == 2


async def test_aged_keys_are_renewed_while_they_count(ring: KeyRing, source: Source, clock: Clock) -> None:
    await ring.key("old")
    clock.now += AGE - 1
    await ring.key("old")
    await settled()
    assert source.asked == 1
    clock.now += 1
    source.keys = NEW
    source.willing.clear()
    assert await asyncio.wait_for(ring.key("old"), 1) is KEYS[0]
    source.willing.set()
    await settled()
    assert source.asked == 2
    # What the issuer has withdrawn does not count, and what it has added does, without being asked for again.
    assert await ring.key("new") is KEYS[1]
    assert source.asked == 2
    assert await ring.key("old") is None


async def test_without_keys_the_service_is_unavailable(ring: KeyRing, source: Source, clock: Clock) -> None:
    source.keys = Undelivered("for a reason")
    for each in await asyncio.gather(*(ring.key("old") for _ in range(50)), return_exceptions=True):
        assert isinstance(each, Unavailable)
    assert source.asked == 1
    clock.now += RETRY - 1
    with pytest.raises(Unavailable):
        await ring.key("old")
    assert source.asked == 1
    clock.now += 1
    source.keys = OLD
    assert await ring.key("old") is KEYS[0]
    assert source.asked == 2


async def test_keys_count_while_newer_ones_cannot_be_had(ring: KeyRing, source: Source, clock: Clock) -> None:
    await ring.key("old")
    source.keys = Undelivered("for a reason")
    clock.now += 100 * AGE
    assert await ring.key("old") is KEYS[0]
    await settled()
    assert source.asked == 2
    assert await ring.key("old") is KEYS[0]
    await settled()
    assert source.asked == 2
    assert await ring.key("made-up") is None
    assert source.asked == 3
    clock.now += COOLDOWN
    assert await ring.key("old") is KEYS[0]
    await settled()
    assert source.asked == 4


async def test_a_clock_that_is_set_back_does_not_stop_renewal(ring: KeyRing, source: Source, clock: Clock) -> None:
    await ring.key("old")
    await ring.key("made-up")
    clock.now -= 1_000_000
    source.keys = NEW
    assert await ring.key("new") is KEYS[1]


async def test_a_client_that_goes_does_not_end_the_wait_of_others(ring: KeyRing, source: Source) -> None:
    source.willing.clear()
    gone, stays = (asyncio.create_task(ring.key("old")) for _ in range(2))
    await settled()
    gone.cancel()
    await settled()
    assert gone.cancelled()
    source.willing.set()
    assert await stays is KEYS[0]
    assert source.asked == 1


async def test_a_ring_can_be_closed_at_any_time(ring: KeyRing, source: Source) -> None:
    await ring.close()
    source.willing.clear()
    waiting = asyncio.create_task(ring.key("old"))
    await settled()
    await ring.close()
    await settled()
    assert waiting.cancelled()


async def test_a_failure_is_logged_without_what_was_sent(
    ring: KeyRing, source: Source, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    source.keys = Undelivered("the issuer answered 500")
    with pytest.raises(Unavailable):
        await ring.key("old")
    clock.now += RETRY
    source.keys = ZeroDivisionError("a secret")
    with pytest.raises(Unavailable):
        await ring.key("old")
    assert [each.levelno for each in caplog.records] == [logging.WARNING, logging.ERROR]
    assert "the issuer answered 500" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text
