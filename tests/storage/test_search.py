"""Searching the index over the real table service: drivers, order, levels, paging, and how much is read for it."""

from dataclasses import replace
from typing import Any

import pytest

from shared.dicom.attributes import SEARCHABLE
from shared.dicom.matching import Exact, Fuzzy, Predicate, Range, Test, Wildcard
from shared.model import Level, NewInstance, Scope, StoredInstance
from shared.storage import keys
from shared.storage.plan import Moment, StudyState, plan_delete, plan_store
from shared.storage.search import Found
from shared.storage.search_request import SearchRequest
from shared.storage.search_rows import MAX_MODALITIES
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


async def test_a_pattern_that_many_studies_match_is_compared_newest_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.search_read.CANDIDATES", 20)
    for number in range(60):
        name = "Ann" if number == 0 else f"Bob{number % 2}"
        described = {"00081030": {"vr": "LO", "Value": [f"Study {number}"]}}
        await bench.archive.store([instance(f"1.{number}", name=name, **described)], replaces=False)
    newest = [f"1.{number}" for number in range(59, 0, -1)]
    for pattern in ("*ob*", "b*b?", "bob*"):
        found = await search(bench, Level.STUDY, on("PatientName", Wildcard(pattern)), offset=5, limit=20)
        assert (studies(found), found.cut) == (newest[5:25], False)
    # Neither of two conditions matches few studies, both together do.
    for candidates, few in ((40, 0), (40, 16), (4000, 16)):
        monkeypatch.setattr("shared.storage.search_read.CANDIDATES", candidates)
        monkeypatch.setattr("shared.storage.search_read.FEW", few)
        both = (on("PatientName", Wildcard("*b1*")), on("StudyDescription", Wildcard("*y 5*")))
        found = await search(bench, Level.STUDY, *both)
        assert (studies(found), found.cut) == (["1.59", "1.57", "1.55", "1.53", "1.51", "1.5"], False)
    monkeypatch.setattr("shared.storage.search_read.CANDIDATES", 20)
    # What few studies match is found by that, however many match the rest.
    found = await search(bench, Level.STUDY, on("PatientName", Wildcard("*nn*")), on("PatientID", Wildcard("*1*")))
    assert (studies(found), found.cut) == (["1.0"], False)


async def test_what_is_compared_in_vain_is_limited_and_the_answer_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.storage.search_read.CANDIDATES", 20)
    for number in range(1030):  # the bench allows 1000 rows that do not match
        new = instance(f"1.{number}", name="Ann" if number == 0 else "Anne", patient_id="")
        await bench.archive.store([new], replaces=False)
    found = await search(bench, Level.STUDY, on("PatientName", Wildcard("*n?n")))
    assert studies(found) == [] and found.cut
    page = await search(bench, Level.STUDY, on("PatientName", Wildcard("*nn*")), limit=20)
    assert (len(page.hits), page.cut) == (20, False)


async def test_a_range_of_study_dates_comes_latest_date_first_whatever_else_is_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(bench)
    dates = on("StudyDate", Range("20190101", "20200131"))
    for candidates in (4000, 0):
        monkeypatch.setattr("shared.storage.search_read.CANDIDATES", candidates)
        assert studies(await search(bench, Level.STUDY, dates, on("PatientName", Wildcard("*m*")))) == [
            "1.3",
            "1.1",
            "1.2",
        ]
        assert studies(await search(bench, Level.STUDY, on("PatientName", Wildcard("*m*")))) == ["1.3", "1.2", "1.1"]


async def test_values_of_series_are_found_by_patterns_that_few_values_match(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 70
    for number, (modality, model) in enumerate([("CT", "Alpha 1"), ("MR", "Beta"), ("CT", long + "y"), ("US", long)]):
        new = instance(f"1.{number}", f"1.{number}.1", modality=modality)
        attributes = {**new.series_attributes, "00081090": {"vr": "LO", "Value": [model]}}
        await bench.archive.store([replace(new, series_attributes=attributes)], replaces=False)

    async def found(keyword: str, pattern: str) -> list[str]:
        return series(await search(bench, Level.SERIES, on(keyword, Wildcard(pattern))))

    for _ in range(2):
        assert await found("ManufacturerModelName", "*a*") == ["1.1.1", "1.0.1"]
        assert await found("ManufacturerModelName", "*x?y") == ["1.2.1"]
        assert await found("ManufacturerModelName", "?eta") == ["1.1.1"]
        assert await found("Modality", "?t") == ["1.2.1", "1.0.1"]
        assert await found("Modality", "*z*") == []
        names = on("ModalitiesInStudy", Wildcard("c*"))
        assert studies(await search(bench, Level.STUDY, names)) == ["1.2", "1.0"]
        # The same answers, where there are more values than are compared.
        monkeypatch.setattr("shared.storage.search_read.VOCABULARY_READ", 1)


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


# Pages behind a cursor, and totals


async def paged(bench: Bench, level: Level, *predicates: Predicate, limit: int, **options: Any) -> list[list[str]]:
    """The UIDs of every page, each found by the cursor of the one before."""
    pages: list[list[str]] = []
    after = None
    while True:
        request = SearchRequest(level, options.get("scope"), predicates, 0, limit, after)
        found = await bench.archive.search(request)
        pages.append({Level.STUDY: studies, Level.SERIES: series, Level.INSTANCE: instances}[level](found))
        assert not found.cut
        if found.last is None:
            return pages
        after = found.last


async def many(bench: Bench) -> None:
    """Twelve studies of two series of three instances, of which four at a time were stored in the same microsecond."""
    for number in range(12):
        study = f"1.{number}"
        for one in ("2", "1"):
            for sop in ("8", "7", "9"):
                bench.clock.now = 1_700_000_000_000_000 + number // 4 * 1_000_000
                new = instance(study, f"{study}.{one}", f"{study}.{one}.{sop}", date=f"202001{number % 3 + 10}")
                new = replace(new, number=sop, sop_class=f"1.9.{sop}")
                await bench.archive.store([new], replaces=False)


DATES = on("StudyDate", Range("20200101", None))
PATHS: list[tuple[Level, Scope | None, list[Predicate]]] = [
    (Level.STUDY, None, []),
    (Level.STUDY, None, [on("PatientID", Exact(("p1",)))]),
    (Level.STUDY, None, [on("ModalitiesInStudy", Exact(("ct", "mr")))]),
    (Level.STUDY, None, [on("PatientName", Wildcard("doe*"))]),
    (Level.STUDY, None, [on("PatientName", Wildcard("*oe*"))]),
    (Level.STUDY, None, [on("PatientName", Fuzzy("jane"))]),
    (Level.STUDY, None, [DATES]),
    (Level.STUDY, None, [DATES, on("PatientName", Wildcard("*oe*"))]),
    (Level.STUDY, None, [on("StudyInstanceUID", Exact(("1.1", "1.2", "1.9")))]),
    (Level.SERIES, None, []),
    (Level.SERIES, None, [DATES]),
    (Level.SERIES, None, [on("Modality", Exact(("ct",)))]),
    (Level.SERIES, None, [on("Modality", Wildcard("*t"))]),
    (Level.SERIES, None, [on("PatientID", Exact(("p1",))), on("Modality", Exact(("ct",)))]),
    (Level.SERIES, Scope("1.3"), []),
    (Level.SERIES, Scope("1.3"), [on("SeriesInstanceUID", Exact(("1.3.1", "1.3.2")))]),
    (Level.INSTANCE, None, []),
    (Level.INSTANCE, None, [DATES]),
    (Level.INSTANCE, None, [on("Modality", Exact(("ct",)))]),
    (Level.INSTANCE, None, [on("SOPClassUID", Exact(("1.9.7", "1.9.8")))]),
    (Level.INSTANCE, None, [on("InstanceNumber", Exact(("9",)))]),
    (Level.INSTANCE, None, [on("SOPInstanceUID", Exact(("1.3.1.7", "1.3.1.8", "1.4.2.9")))]),
    (Level.INSTANCE, Scope("1.3"), []),
    (Level.INSTANCE, Scope("1.3"), [on("InstanceNumber", Exact(("9",)))]),
    (Level.INSTANCE, Scope("1.3", "1.3.1"), []),
    (Level.INSTANCE, Scope("1.3", "1.3.1"), [on("SOPClassUID", Exact(("1.9.7", "1.9.8")))]),
]


async def test_pages_join_up_on_every_path_by_offset_and_by_cursor(bench: Bench) -> None:
    await many(bench)
    read = {Level.STUDY: studies, Level.SERIES: series, Level.INSTANCE: instances}
    for level, scope, predicates in PATHS:
        found = await search(bench, level, *predicates, scope=scope)
        whole = read[level](found)
        assert len(whole) == len(set(whole)) > 1, (level, scope, predicates)
        assert (found.total, found.last) == (len(whole), None), (level, scope, predicates)
        for limit in (1, 5) if len(whole) < 40 else (7,):
            pages = [whole[at : at + limit] for at in range(0, len(whole), limit)]
            assert await paged(bench, level, *predicates, scope=scope, limit=limit) == pages, (level, scope, predicates)
            for number, page in enumerate(pages):
                by_offset = await search(bench, level, *predicates, scope=scope, offset=number * limit, limit=limit)
                assert read[level](by_offset) == page, (level, scope, predicates, number)
                assert (by_offset.last is None) == (number == len(pages) - 1)


async def test_what_is_stored_or_deleted_while_paging_neither_repeats_nor_skips_the_rest(bench: Bench) -> None:
    await many(bench)
    bench.clock.now += 1_000_000
    for level, keyword in ((Level.STUDY, None), (Level.SERIES, "Modality"), (Level.INSTANCE, "Modality")):
        predicates = (on(keyword, Exact(("ct",))),) if keyword else ()
        first = await bench.archive.search(SearchRequest(level, None, predicates, 0, 4))
        rest = await search(bench, level, *predicates, offset=4)
        number = f"2.{level.value}"
        await bench.archive.store([instance(number), instance(number)], replaces=False)
        last = first.hits[-1]
        pages = [page async for page in bench.archive.index.list_instances(last.study.uid)]
        await bench.archive.committer.delete(last.study.uid, [each.key for page in pages for each in page])
        second = await bench.archive.search(SearchRequest(level, None, predicates, 0, 200, first.last))
        expected = [hit for hit in rest.hits if hit.study.uid != last.study.uid]
        assert [(h.study.uid, h.series, h.instance and h.instance.key) for h in second.hits] == [
            (h.study.uid, h.series, h.instance and h.instance.key) for h in expected
        ]


async def test_a_cursor_costs_no_more_on_a_later_page(bench: Bench) -> None:
    for number in range(40):
        await bench.archive.store([instance(f"1.{number}")], replaces=False)
    for level, keyword in ((Level.STUDY, None), (Level.STUDY, "PatientID"), (Level.SERIES, "Modality")):
        test = Exact(("p1",)) if keyword == "PatientID" else Exact(("ct",))
        predicates = (on(keyword, test),) if keyword else ()
        after, costs = None, []
        while True:
            bench.calls.clear()
            found = await bench.archive.search(SearchRequest(level, None, predicates, 0, 5, after))
            costs.append(sum(bench.calls.values()))
            if (after := found.last) is None:
                break
        assert len(costs) == 8
        assert max(costs[1:]) <= costs[0] + 4  # at the ends of buckets a page has one more query


async def test_the_total_is_counted_where_search_rows_are_the_matches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(bench)
    for level, predicates, total in (
        (Level.STUDY, [], 12),
        (Level.STUDY, [on("PatientID", Exact(("p1",)))], 12),
        (Level.STUDY, [on("StudyDate", Exact(("20200110",)))], 4),
        (Level.STUDY, [on("StudyDate", Range("20200111", None))], 8),
        (Level.SERIES, [on("Modality", Exact(("ct",)))], 24),
        (Level.STUDY, [on("PatientName", Wildcard("*oe*"))], None),
        (Level.STUDY, [DATES, on("PatientID", Exact(("p1",)))], None),
        (Level.STUDY, [on("ModalitiesInStudy", Exact(("ct", "mr")))], None),
        (Level.SERIES, [], None),
        (Level.INSTANCE, [], None),
    ):
        found = await search(bench, level, *predicates, limit=2)
        assert (found.total, len(found.hits)) == (total, 2), predicates
    below = [
        (Scope("1.3"), Level.SERIES, 2),
        (Scope("1.3"), Level.INSTANCE, 6),
        (Scope("1.3", "1.3.1"), Level.INSTANCE, 3),
    ]
    for scope, level, total in below:
        assert (await search(bench, level, scope=scope, limit=1)).total == total
    assert (await search(bench, Level.STUDY, offset=50)).total == 12
    monkeypatch.setattr("shared.storage.search_read.FULL_PAGE", 2)
    assert (await search(bench, Level.STUDY, limit=2)).total is None


async def test_classes_and_numbers_are_looked_for_within_the_series_that_may_have_them(bench: Bench) -> None:
    await many(bench)
    new = replace(instance("3.1", "3.1.1", "3.1.1.1"), sop_class="1.9.100", number="12")
    await bench.archive.store([new], replaces=False)
    bench.calls.clear()
    found = await search(bench, Level.INSTANCE, on("SOPClassUID", Exact(("1.9.100",))))
    assert instances(found) == ["3.1.1.1"]
    assert found.hits[0].instance is not None and found.hits[0].instance.metadata
    assert dict(bench.calls) == {"table query": 4 + 1, "table row": 3}
    assert instances(await search(bench, Level.INSTANCE, on("InstanceNumber", Exact(("12",))))) == ["3.1.1.1"]
    both = (on("SOPClassUID", Exact(("1.9.7",))), on("InstanceNumber", Exact(("8",))))
    assert instances(await search(bench, Level.INSTANCE, *both)) == []
    both = (on("SOPClassUID", Exact(("1.9.7",))), on("SOPInstanceUID", Exact(("1.3.1.7", "1.3.1.8"))))
    assert instances(await search(bench, Level.INSTANCE, *both)) == ["1.3.1.7"]


async def test_numbers_compared_in_vain_are_limited(bench: Bench) -> None:
    for start in range(0, 1100, 100):  # the bench allows 1000 rows that do not match
        await bench.archive.store([instance(f"1.{start}") for _ in range(100)], replaces=False)
    found = await search(bench, Level.INSTANCE, on("InstanceNumber", Exact(("5",))))
    assert (found.hits, found.cut, found.total) == ((), True, None)


def test_the_largest_change_of_one_instance_fits_into_a_transaction() -> None:
    def hostile(mark: str) -> NewInstance:
        name = {group: f"{mark}{group}" for group in ("Alphabetic", "Ideographic", "Phonetic")}
        values: dict[str, Any] = {"PN": name, "DA": f"2020010{mark}", "TM": f"1{mark}", "IS": f"{mark}"}
        items = [
            {tag: {"vr": "SH", "Value": [f"{mark}{number}"]} for tag in ("00400009", "00401001")}
            for number in range(99)
        ]
        attributes = {each.tag: {"vr": each.vr, "Value": [values.get(each.vr, mark)]} for each in SEARCHABLE}
        return replace(
            instance("1.2", "1.2.3", f"1.2.3.{mark}", **attributes),
            series_attributes={**attributes, "00400275": {"vr": "SQ", "Value": items}},
            sop_class=f"1.9.{mark}",
        )

    state = StudyState("1.2", None, {"1.2.3": None}, {})
    for mark in range(1, 9):
        moment = Moment(1_700_000_000_000_000 + mark, f"t{mark}", 0)
        if state.study is not None:
            many = {f"{number}": 1 for number in range(MAX_MODALITIES + 5)}
            state = replace(state, study=replace(state.study, modalities=many))
        etags = {"s!1.2": "e", "e!1.2!1.2.3": "e"} if state.study else {}
        new = hostile(str(mark))
        plan = plan_store(replace(state, etags=etags, backlog=None), [new], {}, moment)
        assert plan.fits, len(plan.operations)
        state = plan.after
    gone = StoredInstance(new.key, new.version, 1, "1.2", "1.9", 1)
    assert state.study is not None
    last = replace(state, study=replace(state.study, instances=1), backlog=None)
    last = replace(last, series={"1.2.3": replace(last.series["1.2.3"], instances=1)})  # type: ignore[type-var]
    etags = {"s!1.2": "e", "e!1.2!1.2.3": "e", keys.instance_row(new.key): "e"}
    assert plan_delete(replace(last, etags=etags), [gone], Moment(1, "t", 0)).fits


@pytest.mark.parametrize("candidates", [4000, 0], ids=["narrow", "scanned"])
async def test_times_match_by_range_with_both_ends_to_the_microsecond(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, candidates: int
) -> None:
    monkeypatch.setattr("shared.storage.search_read.CANDIDATES", candidates)
    for number, time in enumerate(["0000", "000001", "12", "235959.999999", "bad"]):
        new = instance(f"1.{number}", **{"00080030": {"vr": "TM", "Value": [time]}})
        await bench.archive.store([new], replaces=False)
    for low, high, expected in (
        (None, "000059999999", ["1.1", "1.0"]),
        ("120000000000", None, ["1.3", "1.2"]),
        ("000000000000", "235959999999", ["1.3", "1.2", "1.1", "1.0"]),
        (None, "115959999999", ["1.1", "1.0"]),
        ("120000000001", "235959999998", []),
    ):
        assert studies(await search(bench, Level.STUDY, on("StudyTime", Range(low, high)))) == expected
