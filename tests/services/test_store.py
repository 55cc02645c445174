"""Storing over the real blobs and table: what is visible, what is left behind, and what large data sets become."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.dicomweb.store_response import FailureReason
from shared.errors import BadRequest, TooLarge, Unavailable
from shared.model import Scope
from shared.services import store
from shared.services.judging import Outcome, StoreRequest
from shared.services.store import COMMIT_AFTER, StoreLimits, StoreService
from shared.storage import keys
from tests.builders import INSTANCE, SERIES, STUDY, instance
from tests.services.conftest import Services, odd_instance, scope_of, url_of


@pytest.mark.parametrize("size", [1000, 1_000_003, 30_000_000])
async def test_what_is_stored_comes_back_byte_for_byte_however_it_arrives(services: Services, size: int) -> None:
    small, large = instance(sop=f"{SERIES}.1"), instance(sop=f"{SERIES}.2", rows=1024, columns=1024, frames=18)
    keys_of = []
    for outcome in await services.put(small, large, size=size):
        assert outcome.key is not None
        keys_of.append(outcome.key)
    for key, file in zip(keys_of, (small, large), strict=True):
        assert await services.files(scope_of(key)) == [("1.2.840.10008.1.2.1", file)]
    assert len(await services.bench.blobs()) == 2


async def test_outcomes_come_in_the_order_of_parts(services: Services) -> None:
    good = [instance(sop=f"{SERIES}.{number}") for number in range(6)]
    outcomes = await services.put(good[0], b"junk", good[1], good[0], b"", good[2])
    assert [each.failure for each in outcomes] == [
        None,
        FailureReason.CANNOT_UNDERSTAND,
        None,
        FailureReason.ALREADY_EXISTS,
        FailureReason.CANNOT_UNDERSTAND,
        None,
    ]
    assert await services.count(STUDY) == 3
    assert len(await services.bench.blobs()) == 3


async def test_a_store_of_many_instances_is_committed_in_few_transactions(services: Services) -> None:
    number = COMMIT_AFTER + 20
    await services.put_well(*(instance(sop=f"{SERIES}.{each}") for each in range(number)))
    assert await services.count(STUDY) == number
    assert services.bench.calls["table transaction"] <= number / 40 + 3
    assert services.bench.calls["blob put"] == number


async def test_an_instance_over_the_limit_fails_the_request_and_leaves_nothing(services: Services) -> None:
    services.store = StoreService(
        services.archive, StoreLimits(20_000_000, 1_000_000, 4), services.version, services.store._parsing
    )
    with pytest.raises(TooLarge):
        await services.put(instance(sop=f"{SERIES}.1"), instance(rows=1024, columns=1024, frames=24))
    assert await services.count(STUDY) == 0
    assert await services.bench.blobs() == []


async def test_a_body_that_breaks_off_leaves_nothing(services: Services) -> None:
    async def piece(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async def parts() -> AsyncIterator[AsyncIterator[bytes]]:
        for number in range(10):
            yield piece(instance(sop=f"{SERIES}.{number}"))
        raise BadRequest("the body is broken")

    with pytest.raises(BadRequest):
        await services.store.store(parts(), StoreRequest(None, replaces=False, lenient=True))
    assert await services.count(STUDY) == 0
    assert await services.bench.blobs() == []


async def test_a_request_that_is_cancelled_leaves_nothing(services: Services) -> None:
    arrived, never = asyncio.Event(), asyncio.Event()

    async def piece(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async def parts() -> AsyncIterator[AsyncIterator[bytes]]:
        for number in range(5):
            yield piece(instance(sop=f"{SERIES}.{number}"))
        arrived.set()
        await never.wait()

    storing = asyncio.create_task(services.store.store(parts(), StoreRequest(None, replaces=False, lenient=True)))
    await arrived.wait()
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert await services.count(STUDY) == 0
    assert await services.bench.blobs() == []


async def test_metadata_too_large_for_its_row_lies_beside_the_instance_and_goes_with_it(services: Services) -> None:
    text = base64.b64encode(secrets.token_bytes(120_000)).decode()
    file = instance(TextValue=text)
    (key,) = await services.put_well(file)
    stored = await services.archive.index.get_instance(key, ("metadata",))
    assert stored is not None
    assert (stored.metadata, stored.metadata_apart) == (None, True)
    assert sorted(await services.bench.blobs()) == [stored.version, keys.metadata_blob(stored.version)]
    for scope in (Scope(STUDY), Scope(STUDY, SERIES), scope_of(key)):
        (data_set,) = json.loads(await services.metadata(scope))
        assert data_set["0040A160"]["Value"] == [text]

    await services.delete.delete(Scope(STUDY))
    services.clock.now += services.clock.grace
    await services.sweep.sweep()
    assert await services.bench.blobs() == []


async def test_metadata_that_unpacks_to_megabytes_comes_whole(services: Services) -> None:
    texts = ["x" * size for size in (5_000_000, 4 * 1024 * 1024 - 500)]
    for number, text in enumerate(texts):
        services.store = StoreService(
            services.archive, StoreLimits(2**30, 2**26, 4), services.version, services.store._parsing
        )
        (key,) = await services.put_well(instance(sop=f"{SERIES}.{number}", TextValue=text))
        (data_set,) = json.loads(await services.metadata(scope_of(key)))
        assert data_set["0040A160"]["Value"] == [text]


async def test_a_duplicate_with_sidecars_leaves_none_of_its_blobs(services: Services) -> None:
    file = instance(TextValue=base64.b64encode(secrets.token_bytes(120_000)).decode())
    await services.put_well(file)
    before = await services.bench.blobs()
    (outcome,) = await services.put(file)
    assert outcome.failure is FailureReason.ALREADY_EXISTS
    assert await services.bench.blobs() == before


async def test_a_replacement_is_what_is_served_from_then_on(services: Services) -> None:
    old, new = instance(PatientID="A"), instance(PatientID="B", rows=9)
    await services.put_well(old)
    tag = await services.retrieve.metadata(Scope(STUDY), url_of)
    (key,) = await services.put_well(new, replaces=True)
    assert await services.files(Scope(STUDY)) == [("1.2.840.10008.1.2.1", new)]
    assert await services.frames(key, 1) == [bytes(range(54))]
    (data_set,) = json.loads(await services.metadata(scope_of(key)))
    assert data_set["00100020"]["Value"] == ["B"]
    later = await services.retrieve.metadata(Scope(STUDY), url_of)
    assert tag is not None and later is not None and tag.tag != later.tag
    for each in (tag, later):
        await each.chunks.aclose()  # type: ignore[attr-defined]


async def test_an_instance_whose_series_moves_is_another_instance(services: Services) -> None:
    await services.put_well(instance(), instance(series=f"{STUDY}.7"))
    assert await services.count(STUDY) == 2
    assert len(await services.files(Scope(STUDY, SERIES, INSTANCE))) == 1


async def test_a_duplicate_whose_blob_cannot_be_deleted_makes_no_failure_of_what_was_stored(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.put_well(instance(sop=f"{INSTANCE}.1"))

    async def failing(*_: object) -> None:
        raise Unavailable("blob storage answered 503")

    monkeypatch.setattr(type(services.archive.blobs), "delete", failing)
    again, new = await services.put(instance(sop=f"{INSTANCE}.1"), instance(sop=f"{INSTANCE}.2"))
    assert (again.failure, new.failure) == (FailureReason.ALREADY_EXISTS, None)
    assert await services.count(STUDY) == 2


async def test_a_study_that_cannot_be_committed_fails_alone_and_its_instances_are_named(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = type(services.archive.committer).store

    async def failing(self: Any, instances: Any, **options: Any) -> Any:
        if instances[0].key.study == "1.9":
            raise Unavailable("the index answered 503")
        return await store(self, instances, **options)

    monkeypatch.setattr(type(services.archive.committer), "store", failing)
    good, bad = await services.put(instance(), instance(study="1.9", series="1.9.1", sop="1.9.1.1"))
    assert good.failure is None
    assert (bad.failure, bad.sop_instance) == (FailureReason.PROCESSING_FAILURE, "1.9.1.1")
    with pytest.raises(Unavailable):
        await services.put(instance(study="1.9", series="1.9.1", sop="1.9.1.2"))


async def test_the_comments_of_one_answer_are_bounded(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_COMMENTS", 3)
    files = [odd_instance(sop=f"{SERIES}.{number}", StudyTime="noon", PatientAge="old") for number in range(4)]
    outcomes = await services.put(*files)
    assert [each.failure for each in outcomes] == [None] * 4
    assert sum(len(each.comments) for each in outcomes) == 3
    assert all(each.warning is not None for each in outcomes)


async def test_a_part_that_has_failed_already_keeps_its_place(services: Services) -> None:
    refused = Outcome("1.2", "1.3", failure=FailureReason.CANNOT_UNDERSTAND)

    async def piece(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async def parts() -> AsyncIterator[AsyncIterator[bytes] | Outcome]:
        yield refused
        yield piece(instance(sop=f"{SERIES}.1"))
        yield refused

    outcomes = await services.store.store(parts(), StoreRequest(None, replaces=False, lenient=True))
    assert [each.failure is None for each in outcomes] == [False, True, False]
    assert outcomes[0] == outcomes[2] == refused
    assert await services.count(STUDY) == 1
