"""What searches return: which attributes, of which matches, in which order, a page at a time."""

import base64
import secrets
from typing import Any

import pytest

from shared.dicomweb.paging import token_of
from shared.dicomweb.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    SERIES_INSTANCES,
    STUDIES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    SearchResource,
)
from shared.model import Level, Scope
from tests.builders import CT_IMAGE, INSTANCE, SECONDARY_CAPTURE, SERIES, STUDY, instance
from tests.services.conftest import Services

UID_TAGS = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.INSTANCE: "00080018"}

STUDY_TAGS = {"00080020", "00080061", "00100010", "00100020", "0020000D", "00201206", "00201208"}
SERIES_TAGS = {"00080060", "0020000E", "00201209"}
INSTANCE_TAGS = {"00080016", "00080018", "00083002", "00280010", "00280011", "00280100"}
EVERY_LEVEL = {"00080005", "00080056", "00081190"}

#: Each resource with the scope it is searched below and the attributes its results have of a plain instance.
RESOURCES: list[tuple[SearchResource, Scope | None, set[str]]] = [
    (STUDIES, None, STUDY_TAGS),
    (ALL_SERIES, None, STUDY_TAGS | SERIES_TAGS),
    (ALL_INSTANCES, None, STUDY_TAGS | SERIES_TAGS | INSTANCE_TAGS),
    (STUDY_SERIES, Scope(STUDY), SERIES_TAGS | {"0020000D"}),
    (STUDY_INSTANCES, Scope(STUDY), SERIES_TAGS | INSTANCE_TAGS | {"0020000D"}),
    (SERIES_INSTANCES, Scope(STUDY, SERIES), INSTANCE_TAGS | {"0020000D", "0020000E"}),
]
NAMES = ["studies", "series", "instances", "study's series", "study's instances", "series' instances"]


def values(data_sets: list[dict[str, Any]], tag: str) -> list[Any]:
    return [each[tag]["Value"][0] for each in data_sets]


@pytest.mark.parametrize(("resource", "scope", "tags"), RESOURCES, ids=NAMES)
async def test_results_have_the_attributes_of_the_levels_of_their_resource(
    services: Services, resource: SearchResource, scope: Scope | None, tags: set[str]
) -> None:
    await services.put_well(instance(BodyPartExamined="CHEST"))
    (found,) = (await services.find(resource, scope)).data_sets
    assert set(found) == tags | EVERY_LEVEL
    assert list(found) == sorted(found)
    uids = {Level.STUDY: STUDY, Level.SERIES: SERIES, Level.INSTANCE: INSTANCE}
    wanted = [uid for level, uid in uids.items() if level <= resource.level]
    assert found["00081190"]["Value"] == ["/".join(["url", *wanted])]


@pytest.mark.parametrize(("resource", "scope", "tags"), RESOURCES, ids=NAMES)
async def test_included_fields_come_too_and_all_brings_everything_known(
    services: Services, resource: SearchResource, scope: Scope | None, tags: set[str]
) -> None:
    private = instance(BodyPartExamined="CHEST", KVP="120", StationName="S1")
    await services.put_well(private)
    fields = "BodyPartExamined,00180060,InstanceNumber"
    (found,) = (await services.find(resource, scope, includefield=[fields, "StationName"])).data_sets
    assert set(found) == tags | EVERY_LEVEL | {"00180015", "00180060", "00081010"}
    (everything,) = (await services.find(resource, scope, includefield="all")).data_sets
    assert set(everything) >= tags | EVERY_LEVEL
    if resource.level is Level.INSTANCE:
        assert {"00180015", "00180060", "00081010"} <= set(everything)
    assert "7FE00010" not in everything


async def test_a_condition_is_returned_even_where_it_is_no_default(services: Services) -> None:
    await services.put_well(instance(PerformedProcedureStepStartDate="20240101", ManufacturerModelName="M1"))
    (found,) = (await services.find(STUDY_INSTANCES, Scope(STUDY), ManufacturerModelName="M1")).data_sets
    assert found["00081090"]["Value"] == ["M1"]


async def test_computed_attributes_are_those_of_the_archive_and_not_of_the_files(services: Services) -> None:
    lying = {"NumberOfStudyRelatedInstances": 99, "ModalitiesInStudy": "US"}
    await services.put_well(
        instance(**lying, Modality="CT"),
        instance(sop=f"{INSTANCE}.2", Modality="CT"),
        instance(series=f"{SERIES}.2", Modality="MR"),
    )
    (study,) = (await services.find(STUDIES, ModalitiesInStudy="CT")).data_sets
    assert study["00080061"]["Value"] == ["CT", "MR"]
    assert (values([study], "00201206"), values([study], "00201208")) == ([2], [3])
    found = (await services.find(STUDY_SERIES, Scope(STUDY), Modality="CT")).data_sets
    assert values(found, "00201209") == [2]
    everything = (await services.find(ALL_INSTANCES, includefield="all")).data_sets
    assert values(everything, "00201208") == [3, 3, 3]


async def three_studies(services: Services) -> list[str]:
    """Three studies of two series of two instances each, the oldest first."""
    studies = [f"1.2.{number}" for number in (5, 3, 4)]
    for study in studies:
        for series in (f"{study}.2", f"{study}.1"):
            for sop in (f"{series}.8", f"{series}.9"):
                await services.put_well(instance(study=study, series=series, sop=sop))
    return studies


@pytest.mark.parametrize("resource", [STUDIES, ALL_SERIES, ALL_INSTANCES], ids=NAMES[:3])
async def test_what_was_stored_last_comes_first_at_every_level(services: Services, resource: SearchResource) -> None:
    stored = []
    for study in await three_studies(services):
        stored += {
            Level.STUDY: [study],
            Level.SERIES: [f"{study}.2", f"{study}.1"],
            Level.INSTANCE: [f"{study}.2.8", f"{study}.2.9", f"{study}.1.8", f"{study}.1.9"],
        }[resource.level]
    found = (await services.find(resource)).data_sets
    assert values(found, UID_TAGS[resource.level]) == stored[::-1]


@pytest.mark.parametrize("resource", [STUDIES, ALL_SERIES, ALL_INSTANCES], ids=NAMES[:3])
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_pages_together_are_the_whole(services: Services, resource: SearchResource, limit: int) -> None:
    await three_studies(services)
    whole = (await services.find(resource)).data_sets
    paged: list[dict[str, Any]] = []
    for offset in range(0, len(whole), limit):
        page = await services.find(resource, limit=limit, offset=offset)
        assert len(page.data_sets) == min(limit, len(whole) - offset)
        assert not page.cut
        paged += page.data_sets
    assert paged == whole
    assert (await services.find(resource, limit=limit, offset=len(whole))).data_sets == []


async def test_searches_stay_within_their_scope(services: Services) -> None:
    await three_studies(services)
    assert len((await services.find(STUDY_SERIES, Scope("1.2.3"))).data_sets) == 2
    assert len((await services.find(STUDY_INSTANCES, Scope("1.2.3"))).data_sets) == 4
    assert len((await services.find(SERIES_INSTANCES, Scope("1.2.3", "1.2.3.1"))).data_sets) == 2
    for scope in (Scope("1.2.3", "1.2.4.1"), Scope("1.2.9", "1.2.3.1")):
        assert (await services.find(SERIES_INSTANCES, scope)).data_sets == []
    other = await services.find(STUDY_INSTANCES, Scope("1.2.3"), SOPInstanceUID="1.2.4.1.8")
    assert other.data_sets == []
    named = await services.find(STUDY_INSTANCES, Scope("1.2.3"), SeriesInstanceUID="1.2.3.2")
    assert values(named.data_sets, "00080018") == ["1.2.3.2.9", "1.2.3.2.8"]


async def test_conditions_of_several_levels_must_all_hold(services: Services) -> None:
    await services.put_well(
        instance(study="1.2.1", series="1.2.1.1", sop="1.2.1.1.1", PatientID="A", Modality="CT"),
        instance(study="1.2.1", series="1.2.1.2", sop="1.2.1.2.1", PatientID="A", Modality="MR"),
        instance(study="1.2.2", series="1.2.2.1", sop="1.2.2.1.1", PatientID="B", Modality="MR"),
    )
    found = await services.find(ALL_INSTANCES, PatientID="A", Modality="MR")
    assert values(found.data_sets, "00080018") == ["1.2.1.2.1"]
    assert (await services.find(ALL_INSTANCES, PatientID="A", SOPInstanceUID="1.2.2.1.1")).data_sets == []
    assert (await services.find(ALL_SERIES, PatientID="B", Modality="CT")).data_sets == []


async def test_results_with_large_metadata_are_read_from_beside_the_row(services: Services) -> None:
    text = base64.b64encode(secrets.token_bytes(120_000)).decode()
    await services.put_well(instance(TextValue=text))
    for resource, scope, _ in RESOURCES:
        (found,) = (await services.find(resource, scope, includefield="0040A160")).data_sets
        assert found["0040A160"]["Value"] == [text]


async def test_included_fields_of_a_study_survive_the_delete_of_its_newest_instance(services: Services) -> None:
    await services.put_well(instance(sop=f"{INSTANCE}.1", KVP="100"), instance(sop=f"{INSTANCE}.2", KVP="120"))
    (newest,) = (await services.find(STUDIES, includefield="KVP")).data_sets
    assert newest["00180060"]["Value"] == [120]
    await services.delete.delete(Scope(STUDY, SERIES, f"{INSTANCE}.2"))
    (left,) = (await services.find(STUDIES, includefield="KVP")).data_sets
    assert left["00180060"]["Value"] == [100]


async def test_nothing_stored_is_nothing_found(services: Services) -> None:
    for resource, scope, _ in RESOURCES:
        found = await services.find(resource, scope)
        assert (found.data_sets, found.cut) == ([], False)


async def test_pages_by_cursor_are_the_whole_on_every_resource(services: Services) -> None:
    await three_studies(services)
    for resource, scope in (
        (STUDIES, None),
        (ALL_SERIES, None),
        (ALL_INSTANCES, None),
        (STUDY_SERIES, Scope("1.2.3")),
        (STUDY_INSTANCES, Scope("1.2.3")),
        (SERIES_INSTANCES, Scope("1.2.3", "1.2.3.1")),
    ):
        whole = await services.find(resource, scope)
        assert (whole.last, whole.total) == (None, len(whole.data_sets))
        page = await services.find(resource, scope, limit=1)
        found = page.data_sets
        while page.last is not None:
            page = await services.find(resource, scope, limit=1, cursor=token_of(page.last))
            assert len(page.data_sets) == 1
            found = found + page.data_sets
        assert found == whole.data_sets


async def test_classes_that_a_series_remembers_for_searches_are_no_attribute_of_it(services: Services) -> None:
    await services.put_well(instance(SOPClassUID=CT_IMAGE), instance(sop=f"{INSTANCE}.2"))
    for sop_class, expected in ((CT_IMAGE, INSTANCE), (SECONDARY_CAPTURE, f"{INSTANCE}.2")):
        found = await services.find(ALL_INSTANCES, SOPClassUID=sop_class)
        assert values(found.data_sets, "00080018") == [expected]
    for parameters in ({}, {"includefield": "all"}):
        for resource, scope in ((ALL_SERIES, None), (STUDY_SERIES, Scope(STUDY))):
            (found_series,) = (await services.find(resource, scope, **parameters)).data_sets
            assert "00080016" not in found_series
    (asked,) = (await services.find(ALL_SERIES, includefield="SOPClassUID")).data_sets
    assert asked["00080016"]["Value"] == [SECONDARY_CAPTURE]


async def test_bulk_data_that_are_named_come_as_references_that_lead_somewhere(services: Services) -> None:
    await services.put_well(instance())
    expected = {"vr": "OB", "BulkDataURI": f"url/{STUDY}/{SERIES}/{INSTANCE}/bulkdata/7FE00010"}
    for resource, scope, _ in RESOURCES:
        (found,) = (await services.find(resource, scope, includefield="PixelData")).data_sets
        assert found["7FE00010"] == expected


async def test_what_a_replaced_instance_was_is_found_no_more(services: Services) -> None:
    await services.put_well(instance(InstanceNumber="0007"))
    assert len((await services.find(ALL_INSTANCES, InstanceNumber="7")).data_sets) == 1
    await services.put_well(instance(InstanceNumber="8", SOPClassUID=CT_IMAGE), replaces=True)
    assert (await services.find(ALL_INSTANCES, InstanceNumber="7")).data_sets == []
    assert (await services.find(ALL_INSTANCES, SOPClassUID=SECONDARY_CAPTURE)).data_sets == []
    assert len((await services.find(ALL_INSTANCES, InstanceNumber="008", SOPClassUID=CT_IMAGE)).data_sets) == 1
