"""Searching the index over the real table service: drivers, order, levels, paging, and how much is read for it."""

from typing import Any

import pytest

from shared.dicom.attributes import SEARCHABLE
from shared.dicom.matching import Exact, Fuzzy, Predicate, Range, Test, Wildcard
from shared.model import Level, Scope
from shared.storage.search import Found, SearchRequest
from tests.storage.conftest import Bench
from tests.storage.instances import instance

BY_KEYWORD = {attribute.keyword: attribute for attribute in SEARCHABLE}


def on(keyword: str, test: Test) -> Predicate:
    return Predicate(BY_KEYWORD[keyword], test)


async def search(
    bench: Bench,
    level: Level,
    *predicates: Predicate,
    scope: Scope | None = None,
    offset: int = 0,
    limit: int = 100,
) -> Found:
    return await bench.archive.search(SearchRequest(level, scope, predicates, offset, limit))


def studies(found: Found) -> list[str]:
    return [hit.study.uid for hit in found.hits]


def series(found: Found) -> list[str]:
    return [hit.series.uid for hit in found.hits if hit.series]


def instances(found: Found) -> list[str]:
    return [hit.instance.key.instance for hit in found.hits if hit.instance]


#: Study, name, patient, date, modality; stored in this order.
STUDIES = [
    ("1.1", "Müller^Anna Maria", "P-1", "20200110", "CT"),
    ("1.2", "Muller^Hans", "P-2", "20200105", "MR"),
    ("1.3", "Smith^John=山田^太郎", "p-10", "20200120", "CT"),
    ("1.4", "Stone Hall^Jon", "Q/7", "20191231", "US"),
    ("1.5", "", "", "20210101", "MR"),
]


JANUARY = on("StudyDate", Range("20200106", "20200119"))


async def fill(bench: Bench) -> None:
    for study, name, patient, date, modality in STUDIES:
        elements: dict[str, Any] = {}
        groups = dict(zip(("Alphabetic", "Ideographic"), name.split("="), strict=False))
        elements["00100010"] = {"vr": "PN", "Value": [groups]} if name else {"vr": "PN"}
        elements["00100020"] = {"vr": "LO", "Value": [patient]} if patient else {"vr": "LO"}
        await bench.archive.store([instance(study, modality=modality, date=date, **elements)], replaces=False)


@pytest.mark.parametrize(
    ("predicates", "expected"),
    [
        ([], ["1.5", "1.4", "1.3", "1.2", "1.1"]),
        ([on("StudyInstanceUID", Exact(("1.3",)))], ["1.3"]),
        ([on("StudyInstanceUID", Exact(("1.1", "1.4", "9.9")))], ["1.4", "1.1"]),
        ([on("PatientID", Exact(("p-1",)))], ["1.1"]),
        ([on("PatientID", Exact(("q/7",)))], ["1.4"]),
        ([on("PatientID", Wildcard("p-*"))], ["1.3", "1.2", "1.1"]),
        ([on("PatientID", Wildcard("p-1?"))], ["1.3"]),
        ([on("PatientID", Wildcard("*-1*"))], ["1.3", "1.1"]),
        ([on("PatientName", Exact(("muller^anna maria",)))], ["1.1"]),
        ([on("PatientName", Exact(("山田^太郎",)))], ["1.3"]),
        ([on("PatientName", Wildcard("muller*"))], ["1.2", "1.1"]),
        ([on("PatientName", Wildcard("山*"))], ["1.3"]),
        ([on("PatientName", Wildcard("*h*n*"))], ["1.4", "1.3", "1.2"]),
        ([on("PatientName", Fuzzy("mar"))], ["1.1"]),
        ([on("PatientName", Fuzzy("stone ha"))], ["1.4"]),
        ([on("PatientName", Fuzzy("sto ha"))], []),
        ([on("StudyDate", Exact(("20200105",)))], ["1.2"]),
        ([on("StudyDate", Range("20200101", "20200131"))], ["1.3", "1.1", "1.2"]),
        ([on("StudyDate", Range(None, "20200105"))], ["1.2", "1.4"]),
        ([on("StudyDate", Range("20200120", None))], ["1.5", "1.3"]),
        ([on("ModalitiesInStudy", Exact(("ct",)))], ["1.3", "1.1"]),
        ([on("ModalitiesInStudy", Exact(("mr", "us")))], ["1.5", "1.4", "1.2"]),
        ([on("ModalitiesInStudy", Exact(("mr",))), on("StudyDate", Range(None, "20201231"))], ["1.2"]),
        ([on("PatientName", Wildcard("*a*")), on("PatientID", Wildcard("p*")), JANUARY], ["1.1"]),
        ([on("PatientID", Exact(("p-1",))), on("PatientName", Exact(("muller^hans",)))], []),
    ],
)  # fmt: skip
async def test_studies_are_found_by_every_kind_of_condition_newest_first(
    bench: Bench, predicates: list[Predicate], expected: list[str]
) -> None:
    await fill(bench)
    found = await search(bench, Level.STUDY, *predicates)
    assert (studies(found), found.cut) == (expected, False)


async def test_pages_of_every_driver_join_up_without_gap_or_repetition(bench: Bench) -> None:
    for number in range(23):
        new = instance(f"1.{number}", name=f"Doe{number % 3}^A B", date=f"202001{number % 9 + 10}")
        await bench.archive.store([new], replaces=False)
    for predicates in (
        [],
        [on("PatientID", Exact(("p1",)))],
        [on("PatientName", Wildcard("doe*"))],
        [on("PatientName", Wildcard("*oe*"))],
        [on("PatientName", Fuzzy("a b"))],
        [on("StudyDate", Range("20200101", None))],
    ):
        whole = studies(await search(bench, Level.STUDY, *predicates))
        assert len(whole) == len(set(whole)) == 23
        for offset in (0, 5, 20, 23, 40):
            page = await search(bench, Level.STUDY, *predicates, offset=offset, limit=5)
            assert studies(page) == whole[offset : offset + 5]


async def test_series_are_found_through_their_study_and_through_their_own_rows(bench: Bench) -> None:
    new = [
        instance("1.1", "1.1.1", modality="CT"),
        instance("1.1", "1.1.2", modality="MR"),
        instance("1.2", "1.2.1", modality="CT", name="Roe^Rick"),
    ]
    for each in new:
        await bench.archive.store([each], replaces=False)

    async def found(*predicates: Predicate, scope: Scope | None = None) -> list[str]:
        return series(await search(bench, Level.SERIES, *predicates, scope=scope))

    assert await found() == ["1.2.1", "1.1.2", "1.1.1"]
    assert await found(scope=Scope("1.1")) == ["1.1.2", "1.1.1"]
    assert await found(on("Modality", Exact(("ct",)))) == ["1.2.1", "1.1.1"]
    assert await found(on("Modality", Exact(("ct",))), scope=Scope("1.1")) == ["1.1.1"]
    assert await found(on("Modality", Exact(("ct",))), on("PatientName", Exact(("doe^jane",)))) == ["1.1.1"]
    assert await found(on("Modality", Exact(("ct",))), on("PatientName", Wildcard("*oe*"))) == ["1.2.1", "1.1.1"]
    assert await found(on("SeriesInstanceUID", Exact(("1.1.2", "1.2.1")))) == ["1.2.1", "1.1.2"]
    assert await found(on("SeriesInstanceUID", Exact(("1.1.2",))), scope=Scope("1.2")) == []
    assert await found(on("SeriesInstanceUID", Exact(("1.1.2",))), on("PatientName", Wildcard("*x*"))) == []
    assert await found(scope=Scope("9.9")) == []


async def test_instances_are_found_newest_first_within_series_within_studies(bench: Bench) -> None:
    for study in ("1.1", "1.2"):
        for one in ("1", "2"):
            for number in ("1", "2"):
                new = instance(study, f"{study}.{one}", f"{study}.{one}.{number}", modality=f"M{one}")
                await bench.archive.store([new], replaces=False)
    everything = ["1.2.2.2", "1.2.2.1", "1.2.1.2", "1.2.1.1", "1.1.2.2", "1.1.2.1", "1.1.1.2", "1.1.1.1"]

    async def found(*predicates: Predicate, **options: Any) -> list[str]:
        return instances(await search(bench, Level.INSTANCE, *predicates, **options))

    assert await found() == everything
    for offset in range(9):
        assert await found(offset=offset, limit=3) == everything[offset : offset + 3]
    assert await found(scope=Scope("1.1")) == everything[4:]
    assert await found(scope=Scope("1.1", "1.1.2")) == everything[4:6]
    assert await found(on("Modality", Exact(("m1",)))) == ["1.2.1.2", "1.2.1.1", "1.1.1.2", "1.1.1.1"]
    assert await found(on("SOPInstanceUID", Exact(("1.1.2.1",)))) == ["1.1.2.1"]
    assert await found(on("SOPInstanceUID", Exact(("1.1.2.1", "1.2.1.1")))) == ["1.2.1.1", "1.1.2.1"]
    assert await found(on("SOPInstanceUID", Exact(("1.1.2.1",))), scope=Scope("1.1", "1.1.2")) == ["1.1.2.1"]
    assert await found(on("SOPInstanceUID", Exact(("1.1.2.1",))), scope=Scope("1.1", "1.1.1")) == []
    assert await found(on("SOPInstanceUID", Exact(("1.1.2.1",))), scope=Scope("1.2")) == []
    assert await found(on("SOPInstanceUID", Exact(("1.1.2.1",))), on("Modality", Exact(("m1",)))) == []


async def test_the_few_newest_of_a_large_series_come_with_their_metadata(bench: Bench) -> None:
    new = [instance("1.1", "1.1.1", f"1.1.1.{number}") for number in range(120)]
    await bench.archive.store(new, replaces=False)
    found = await search(bench, Level.INSTANCE, scope=Scope("1.1", "1.1.1"), offset=10, limit=5)
    assert instances(found) == [f"1.1.1.{number}" for number in range(109, 104, -1)]
    assert all(hit.instance and hit.instance.metadata for hit in found.hits)


async def test_a_pattern_without_a_prefix_reads_no_more_rows_than_allowed_and_says_so(bench: Bench) -> None:
    for number in range(1030):  # the bench allows 1000 rows that do not match
        new = instance(f"1.{number}", name="Ann" if number == 0 else "Bob", patient_id="")
        await bench.archive.store([new], replaces=False)
    assert studies(await search(bench, Level.STUDY, on("PatientName", Exact(("ann",))))) == ["1.0"]
    found = await search(bench, Level.STUDY, on("PatientName", Wildcard("*nn*")))
    assert (studies(found) in ([], ["1.0"])) and found.cut
    page = await search(bench, Level.STUDY, on("PatientName", Wildcard("*ob*")), limit=20)
    assert (len(page.hits), page.cut) == (20, False)


async def test_hostile_operands_find_nothing_and_break_nothing(bench: Bench) -> None:
    await fill(bench)
    for predicate in (
        on("StudyInstanceUID", Exact(())),
        on("PatientID", Wildcard("x" * 9000 + "*")),
        on("PatientID", Exact(("\U00020000" * 3000,))),
        on("PatientID", Exact(("it's; drop\uffff",))),
        on("PatientID", Wildcard("\uffff*")),
    ):
        assert studies(await search(bench, Level.STUDY, predicate)) == []
        assert studies(await search(bench, Level.STUDY, predicate, on("StudyDate", Range("19000101", None)))) == []
    assert series(await search(bench, Level.SERIES, on("SeriesInstanceUID", Exact(())))) == []
    assert instances(await search(bench, Level.INSTANCE, on("SOPInstanceUID", Exact(())))) == []


async def test_a_search_by_prefix_reads_no_more_than_allowed_however_far_its_page_lies(bench: Bench) -> None:
    for number in range(1100):  # the bench allows 1000 rows
        await bench.archive.store([instance(f"1.{number}")], replaces=False)
    found = await search(bench, Level.STUDY, on("PatientName", Wildcard("doe*")), offset=2_000_000_000, limit=10)
    assert (studies(found), found.cut) == ([], True)


async def test_pages_without_rows_are_passed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(bench)
    query_entities = bench.table._client.query_entities

    class WithEmptyPages:
        """What the service may answer at the border of its own partitions: a token, and no row yet."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._pages = query_entities(*arguments, **options).by_page()

        async def by_page(self) -> Any:
            yield empty()
            async for page in self._pages:
                yield page

    async def empty() -> Any:
        for row in ():
            yield row

    monkeypatch.setattr(bench.table._client, "query_entities", WithEmptyPages)
    assert studies(await search(bench, Level.STUDY)) == ["1.5", "1.4", "1.3", "1.2", "1.1"]
    pages = [page async for page in bench.archive.index.pages_of(Scope("1.1"))]
    assert [len(page) for page in pages] == [1]


async def test_what_a_search_row_names_may_be_gone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(bench)
    get_study = bench.archive.index.get_study

    async def overtaken(study: str) -> Any:
        return None if study == "1.2" else await get_study(study)

    monkeypatch.setattr(bench.archive.index, "get_study", overtaken)
    assert studies(await search(bench, Level.STUDY, on("PatientName", Wildcard("muller*")))) == ["1.1"]
