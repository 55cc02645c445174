"""Text rows over the real table service: searches stay exact, and nothing is left over, whoever dies or comes between.

What a search must find is computed from the study rows, by the same matching but without any index.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.azurite import Azurite
from shared.dicom.attributes import SEARCHABLE
from shared.dicom.matching import Exact, Fuzzy, Predicate, Test, Wildcard, folded_values, satisfies
from shared.errors import Unavailable
from shared.model import InstanceKey, Level, NewInstance, Study
from shared.storage import keys
from shared.storage.commit import CommitResult
from shared.storage.search import SearchRequest
from shared.storage.search_rows import search_values, study_texts
from shared.storage.table import Operation, Refused, Unknown
from shared.storage.text_writer import LEFT_AFTER
from tests.storage.conftest import Bench, another_bench
from tests.storage.instances import instance

BY_KEYWORD = {attribute.keyword: attribute for attribute in SEARCHABLE}
NAME, PATIENT = BY_KEYWORD["PatientName"], BY_KEYWORD["PatientID"]
UIDS = ("1.1", "1.2", "1.3")

#: Everything that may be asked of the texts below.
QUESTIONS = [
    (NAME, Wildcard("*an*")),
    (NAME, Wildcard("*nn?b*")),
    (NAME, Wildcard("*ba*")),
    (NAME, Wildcard("an*")),
    (NAME, Fuzzy("ba")),
    (NAME, Fuzzy("anna ba")),
    (NAME, Exact(("anna^banana",))),
    (PATIENT, Wildcard("*1*")),
    (PATIENT, Wildcard("*a-1")),
    (PATIENT, Wildcard("a*")),
]


async def studies_of(bench: Bench) -> list[Study]:
    found = [await bench.archive.index.get_study(uid) for uid in UIDS]
    return [each for each in found if each is not None]


async def assert_exact(bench: Bench, questions: Sequence[tuple[Any, Test]] = QUESTIONS) -> None:
    """Every question is answered as by comparing each study, newest first."""
    stored = sorted(await studies_of(bench), key=lambda each: (-each.created, each.uid))
    for attribute, test in questions:
        request = SearchRequest(Level.STUDY, None, (Predicate(attribute, test),), 0, 100)
        found = await bench.archive.search(request)
        wanted = [
            each.uid for each in stored if satisfies(test, attribute, folded_values(search_values(each), attribute))
        ]
        assert ([hit.study.uid for hit in found.hits], found.cut) == (wanted, False), test


async def assert_clean(bench: Bench) -> None:
    """The text rows are those of the studies, and nobody has left anything undone."""
    wanted = {row for study in await studies_of(bench) for texts in study_texts(study) for row in texts.rows()}
    rows = await bench.rows("x!")
    assert {row for row in rows if row.split("!")[1].endswith("t")} == wanted
    assert not [row for row in rows if row.startswith("x!backlog!")]


async def sweep(bench: Bench) -> None:
    """What the sweep does for text rows, once nobody is taken to be working on them."""
    bench.clock.now += LEFT_AFTER
    async for left in bench.archive.left_texts(bench.clock.now):
        await bench.archive.write_left_texts(left)


async def put(bench: Bench, new: NewInstance) -> None:
    await bench.archive.store([new], replaces=True)


async def delete(bench: Bench, study: str) -> None:
    keys_of = [each.key async for page in bench.archive.index.list_instances(study) for each in page]
    if keys_of:
        await bench.archive.committer.delete(study, keys_of)


# Whoever comes between


STEP = st.tuples(
    st.sampled_from(UIDS),
    st.one_of(
        st.none(),  # delete
        st.tuples(st.sampled_from(["Anna^Banana", "Anna", "Hanna B", "Bob=Ann"]), st.sampled_from(["A-1", "1", "BA"])),
    ),
)


@given(rounds=st.lists(st.lists(STEP, min_size=1, max_size=3), min_size=1, max_size=5))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_searches_are_exact_after_any_stores_and_deletes_of_two_processes(
    azurite: Azurite, rounds: list[list[tuple[str, tuple[str, str] | None]]]
) -> None:
    name = f"t{secrets.token_hex(8)}"
    async with another_bench(azurite, name) as one, another_bench(azurite, name, one.clock) as two:

        async def run(bench: Bench, step: tuple[str, tuple[str, str] | None]) -> None:
            study, texts = step
            if texts is None:
                await delete(bench, study)
            else:
                await put(bench, instance(study, sop=f"{study}.1.1", name=texts[0], patient_id=texts[1]))

        for steps in rounds:
            await asyncio.gather(*(run((one, two)[number % 2], step) for number, step in enumerate(steps)))
            await assert_exact(two)
        await sweep(one)
        await assert_exact(one)
        await assert_clean(one)


# Whoever dies


class Killed:
    """Lets some transactions of a process through; then the process is gone, before or after the next of them."""

    def __init__(self, bench: Bench, patched: pytest.MonkeyPatch, left: int, *, taken: bool) -> None:
        self._commit = bench.table.commit
        self._left = left
        self._taken = taken
        self.dead = False
        for name in ("commit", "get", "pages"):
            patched.setattr(bench.table, name, self._living(getattr(bench.table, name)))
        patched.setattr(bench.table, "commit", self.commit)

    def _living(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any, **options: Any) -> Any:
            if self.dead:
                raise Unavailable("the process is gone")
            return call(*arguments, **options)

        return checked

    async def commit(self, partition: str, operations: Sequence[Operation]) -> Any:
        if not self._left:
            if self._taken and not self.dead:
                await self._commit(partition, operations)
            self.dead = True
        if self.dead:
            raise Unavailable("the process is gone")
        self._left -= 1
        return await self._commit(partition, operations)


#: So long that its text rows take several transactions.
LONG = " ".join(f"Anna{number}" for number in range(26))


async def store_new(bench: Bench) -> None:
    await put(bench, instance("1.1", sop="1.1.1.1", name=LONG, patient_id="A-1"))


async def store_other_texts(bench: Bench) -> None:
    await put(bench, instance("1.2", sop="1.2.1.1", name=LONG[::-1], patient_id="1"))


async def delete_study(bench: Bench) -> None:
    await delete(bench, "1.2")


@pytest.mark.parametrize("act", [store_new, store_other_texts, delete_study])
@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
async def test_whoever_dies_at_any_transaction_leaves_searches_exact_and_the_sweep_leaves_nothing(
    azurite: Azurite, act: Callable[[Bench], Awaitable[None]], taken: bool
) -> None:
    died = 0
    while True:
        name = f"t{secrets.token_hex(8)}"
        async with another_bench(azurite, name) as dying, another_bench(azurite, name, dying.clock) as other:
            await put(dying, instance("1.2", sop="1.2.1.1", name=f"{LONG} Banana", patient_id="BA-1"))
            await put(dying, instance("1.3", sop="1.3.1.1", name="Anna^Banana", patient_id="A-1"))
            with pytest.MonkeyPatch.context() as patched:
                killed = Killed(dying, patched, died, taken=taken)
                try:
                    await act(dying)
                    acknowledged = True
                except Unavailable:
                    acknowledged = False
            assert acknowledged or died == 0  # once the commit is through, text rows make no store fail
            await assert_exact(other)
            if died % 2:  # others go on with the study before the sweep comes
                await put(other, instance("1.1", sop="1.1.1.2", name="Hanna", patient_id="A"))
                await put(other, instance("1.2", sop="1.2.1.2", name=LONG, patient_id="A"))
                await assert_exact(other)
            await sweep(other)
            await assert_exact(other)
            await assert_clean(other)
        if not killed.dead:
            break
        died += 1
    assert died >= 3


async def test_a_commit_takes_over_what_another_has_left_and_may_still_be_doing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = bench.table.commit

    async def without_texts(partition: str, operations: Sequence[Operation]) -> Any:
        if operations[-1].key.startswith("x!backlog!"):  # the last of a transaction on text rows
            return await commit(partition, [Operation("delete", "s!none"), *operations])
        return await commit(partition, operations)

    with monkeypatch.context() as patched:
        patched.setattr(bench.table, "commit", without_texts)
        for patient in ("A-1", "1", "BA", "A-1"):
            await put(bench, instance("1.1", sop="1.1.1.1", name="Anna", patient_id=patient))
            await assert_exact(bench)
        assert len(await bench.rows("x!backlog!")) == 1
    await put(bench, instance("1.1", sop="1.1.1.1", name="Hanna B", patient_id="1"))
    await assert_exact(bench)
    await assert_clean(bench)


async def test_a_study_deleted_while_text_rows_are_left_to_write_and_stored_again_is_found_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("shared.storage.commit.write_texts", lambda *_: asyncio.sleep(0))
        await put(bench, instance("1.1", sop="1.1.1.1", name="Anna", patient_id="A-1"))
        await delete(bench, "1.1")
        await assert_exact(bench)
        await put(bench, instance("1.1", sop="1.1.1.1", name="Anna", patient_id="A-1"))
        await assert_exact(bench)
    await sweep(bench)
    await assert_exact(bench)
    await assert_clean(bench)


async def test_a_study_whose_old_text_rows_are_still_there_is_found_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(bench, instance("1.1", sop="1.1.1.1", name="Anna", patient_id="A-1"))
    with monkeypatch.context() as patched:
        patched.setattr("shared.storage.commit.write_texts", lambda *_: asyncio.sleep(0))
        await delete(bench, "1.1")
    await put(bench, instance("1.1", sop="1.1.1.1", name="Anna", patient_id="A-1"))
    await assert_exact(bench)
    await sweep(bench)
    await assert_clean(bench)


@pytest.mark.parametrize("taken", [False, True], ids=["not taken", "taken"])
@pytest.mark.parametrize("at", range(5))
async def test_a_transaction_on_text_rows_whose_answer_is_lost_is_repeated_or_found_to_have_taken_effect(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at: int, taken: bool
) -> None:
    await put(bench, instance("1.1", sop="1.1.1.1", name=LONG, patient_id="A-1"))
    commit, calls = bench.table.commit, itertools.count()

    async def losing(partition: str, operations: Sequence[Operation]) -> Any:
        number = next(calls)
        if number == at and not taken:
            return Unknown()
        answer = await commit(partition, operations)
        return Unknown() if number == at else answer

    with monkeypatch.context() as patched:
        patched.setattr(bench.table, "commit", losing)
        await put(bench, instance("1.1", sop="1.1.1.1", name=LONG[::-1], patient_id="BA"))
    await assert_exact(bench)
    await assert_clean(bench)
    assert next(calls) > 4


# What the table refuses


async def test_a_text_row_that_is_refused_fails_no_store_and_its_study_is_found_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, refused = bench.table.commit, 0

    async def refusing(partition: str, operations: Sequence[Operation]) -> Any:
        nonlocal refused
        if any(each.kind != "delete" and each.key.startswith("x!00100010t!na") for each in operations):
            refused += 1
            return Refused()
        return await commit(partition, operations)

    monkeypatch.setattr(bench.table, "commit", refusing)
    await put(bench, instance("1.1", sop="1.1.1.1", name="Bob", patient_id="1"))
    (result,) = await bench.archive.store([instance("1.1", sop="1.1.1.2", name="Anna^Banana")], replaces=False)
    assert result is CommitResult.STORED and refused
    await assert_exact(bench)
    # The sweep does not try for ever; what is not refused has its rows, and nothing else has.
    tried = refused
    await sweep(bench)
    await assert_exact(bench)
    assert refused == tried
    assert [row.split("!")[2] for row in await bench.rows("x!00100010t!")][:3] == ["-20anna-20banana", "-20banana", "a"]
    assert not [row for row in await bench.rows("x!00100010t!") if "bob" in row]
    # The next change of a text takes the backlog over.
    await put(bench, instance("1.1", sop="1.1.1.1", name="Bob", patient_id="1"))
    await assert_exact(bench)
    await assert_clean(bench)


async def test_series_with_texts_of_their_own_have_text_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # No attribute of series needs them unless it has no vocabulary.
    monkeypatch.setattr("shared.storage.search_rows.VOCABULARY", {})
    for module in ("search_plan", "search_read"):
        monkeypatch.setattr(f"shared.storage.{module}.VOCABULARY", {})
    attribute = BY_KEYWORD["Modality"]
    for number, modality in enumerate(["ABBA", "BABA", "AB"]):
        await bench.archive.store([instance("1.1", f"1.1.{number}", modality=modality)], replaces=False)
    await bench.archive.store([instance("1.2", "1.2.0", modality="BABA")], replaces=False)

    async def found(pattern: str) -> list[str]:
        request = SearchRequest(Level.SERIES, None, (Predicate(attribute, Wildcard(pattern)),), 0, 100)
        return [hit.series.uid for hit in (await bench.archive.search(request)).hits if hit.series]

    with monkeypatch.context() as patched:
        patched.setattr("shared.storage.commit.write_texts", lambda *_: asyncio.sleep(0))
        await bench.archive.store([instance("1.1", "1.1.9", modality="BABY")], replaces=False)
        assert await found("*ba*") == ["1.2.0", "1.1.9", "1.1.1", "1.1.0"]
    await sweep(bench)
    assert await found("*ba*") == ["1.2.0", "1.1.9", "1.1.1", "1.1.0"]
    gone = InstanceKey("1.1", "1.1.1", "")
    pages = bench.archive.index.list_instances("1.1", gone.series)
    await bench.archive.committer.delete("1.1", [each.key async for page in pages for each in page])
    assert await found("*ba*") == ["1.2.0", "1.1.9", "1.1.0"]
    family = keys.text_family(attribute.tag)
    assert not [row for row in await bench.rows(f"x!{family}!") if row.endswith("!1.1.1")]
