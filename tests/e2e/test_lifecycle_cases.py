"""What becomes visible, stays as it is and goes away: deletes, entity tags, metadata and instances at every level.

Most cases run over studies, series and instances alike; those on metadata, which both versions make, over both.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.builders import file_of, instance
from tests.e2e.service import AS_STORED, DICOM_JSON, Api, new_uid, parts_of, value_of
from tests.local.hosting import RunningHost

LEVELS = ("study", "series", "instance")
#: VRs whose values are given by reference, not in the metadata.
BULK_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}


@pytest.fixture(params=["v1", "v2"])
def versioned(host: RunningHost, request: pytest.FixtureRequest) -> Iterator[Api]:
    with Api(host.url, request.param) as opened:
        yield opened


@dataclass(frozen=True)
class Tree:
    """A study of two series of two instances each, and one more study nobody touches."""

    api: Api
    study: str
    other: str

    def path(self, level: str, series: int = 1, number: int = 1) -> str:
        """The path of the study, of one of its series or of one of the instances of that."""
        uid = f"{self.study}.{series}"
        return {
            "study": f"studies/{self.study}",
            "series": f"studies/{self.study}/series/{uid}",
            "instance": f"studies/{self.study}/series/{uid}/instances/{uid}.{number}",
        }[level]

    def file(self, series: int, number: int) -> bytes:
        uid = f"{self.study}.{series}"
        return instance(study=self.study, series=uid, sop=f"{uid}.{number}")

    def put(self, *places: tuple[int, int]) -> None:
        assert self.api.store(*(self.file(*place) for place in places)).status_code == 200

    def instances(self) -> set[str]:
        """The instances of the study, by every way there is to ask."""
        by_metadata = {value_of(each, "00080018") for each in self.api.metadata(f"studies/{self.study}")}
        by_search = {value_of(each, "00080018") for each in self.api.search(f"studies/{self.study}/instances")}
        files = self.api.files(f"studies/{self.study}")
        assert by_metadata == by_search == {str(pydicom.dcmread(BytesIO(each)).SOPInstanceUID) for each in files}
        return by_metadata

    def names(self, *places: tuple[int, int]) -> set[str]:
        return {f"{self.study}.{series}.{number}" for series, number in places}


@pytest.fixture
def tree(api: Api) -> Iterator[Tree]:
    made = Tree(api, new_uid(), new_uid())
    made.put((1, 1), (1, 2), (2, 1), (2, 2))
    Tree(api, made.other, made.study).put((1, 1))
    yield made
    assert len(api.metadata(f"studies/{made.other}")) == 1


def statuses(api: Api, path: str) -> set[int]:
    """What is answered to those who ask for a resource, or for something of it."""
    return {api.get(path, "*/*").status_code, api.get(f"{path}/metadata").status_code}


# Delete


@pytest.mark.parametrize(
    ("level", "left"),
    [
        ("study", ()),
        ("series", ((2, 1), (2, 2))),
        ("instance", ((1, 2), (2, 1), (2, 2))),
    ],
)
def test_a_delete_takes_away_what_it_names_and_nothing_else(
    tree: Tree, level: str, left: tuple[tuple[int, int], ...]
) -> None:
    path = tree.path(level)
    answer = tree.api.http.delete(f"/{path}", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert statuses(tree.api, path) == {404}
    assert statuses(tree.api, tree.path("instance")) == {404}
    assert tree.instances() == tree.names(*left)
    assert tree.api.delete(path) == 404
    assert tree.instances() == tree.names(*left)


def test_with_its_last_instance_a_series_goes_and_with_its_last_series_the_study(tree: Tree) -> None:
    assert tree.api.delete(tree.path("instance", 1, 1)) == 204
    assert statuses(tree.api, tree.path("series", 1)) == {200}
    assert tree.api.delete(tree.path("instance", 1, 2)) == 204
    assert statuses(tree.api, tree.path("series", 1)) == {404}
    assert statuses(tree.api, tree.path("series", 2)) == statuses(tree.api, tree.path("study")) == {200}
    (found,) = tree.api.search("studies", StudyInstanceUID=tree.study, includefield="00201206,00201208")
    assert (value_of(found, "00201206"), value_of(found, "00201208")) == (1, 2)
    assert tree.api.delete(tree.path("series", 2)) == 204
    for level in LEVELS:
        assert statuses(tree.api, tree.path(level, 2)) == {404}
    assert tree.api.search("studies", StudyInstanceUID=tree.study) == []


def test_what_was_deleted_may_be_stored_again(tree: Tree) -> None:
    assert tree.api.delete(tree.path("study")) == 204
    tree.put((1, 1))
    assert tree.instances() == tree.names((1, 1))


@pytest.mark.parametrize(
    "path",
    [
        "studies/notAStudyInstanceUid",
        "studies/{0}/series/notASeriesInstanceUid",
        "studies/notAStudyInstanceUid/series/notASeriesInstanceUid",
        "studies/notAStudyInstanceUid/series/{0}.1",
        "studies/{0}/series/{0}.1/instances/notASopInstanceUid",
        "studies/{0}/series/notASeriesInstanceUid/instances/notASopInstanceUid",
        "studies/notAStudyInstanceUid/series/notASeriesInstanceUid/instances/notASopInstanceUid",
        "studies/notAStudyInstanceUid/series/{0}.1/instances/{0}.1.1",
    ],
)
def test_a_delete_of_what_is_no_uid_is_a_bad_request(tree: Tree, path: str) -> None:
    assert tree.api.delete(path.format(tree.study)) == 400
    assert len(tree.instances()) == 4


@pytest.mark.parametrize(
    "path",
    [
        "studies/{0}",
        "studies/{1}/series/{0}",
        "studies/{0}/series/{1}.1",
        "studies/{1}/series/{1}.2/instances/{1}.1.1",
        "studies/{0}/series/{1}.1/instances/{1}.1.1",
    ],
)
def test_a_delete_of_what_is_not_there_or_elsewhere_is_not_found(tree: Tree, path: str) -> None:
    assert tree.api.delete(path.format(new_uid(), tree.study)) == 404
    assert len(tree.instances()) == 4


# Entity tags of metadata


def metadata(api: Api, path: str, tag: str | None = None) -> httpx.Response:
    headers = {"Accept": DICOM_JSON} | ({"If-None-Match": tag} if tag else {})
    return api.http.get(f"/{path}/metadata", headers=headers)


@pytest.mark.parametrize("level", LEVELS)
def test_metadata_that_is_known_is_not_sent_again(tree: Tree, level: str) -> None:
    path = tree.path(level)
    first = metadata(tree.api, path)
    assert first.status_code == 200
    tag = first.headers["etag"]
    assert tag == f'"{tag.strip(chr(34))}"'
    bare = tag.strip('"')
    for known in (tag, bare, f"W/{tag}", f'"other", {tag}', "*"):
        answer = metadata(tree.api, path, known)
        assert (answer.status_code, answer.content) == (304, b""), known
    for unknown in ('"other"', "other", f'"{bare}x"', f'"{bare.upper()}!"'):
        answer = metadata(tree.api, path, unknown)
        assert (answer.status_code, answer.headers["etag"]) == (200, tag), unknown
        assert answer.json() == first.json()


@pytest.mark.parametrize("level", ["study", "series"])
def test_a_tag_changes_when_an_instance_comes_or_goes(tree: Tree, level: str) -> None:
    path = tree.path(level)
    tags = [metadata(tree.api, path).headers["etag"]]
    tree.put((1, 3))
    tags.append(metadata(tree.api, path, tags[0]).headers["etag"])
    assert tree.api.delete(tree.path("instance", 1, 3)) == 204
    # The same instances as at first, but not the same state: who has it must ask again.
    tags.append(metadata(tree.api, path, tags[1]).headers["etag"])
    tree.put((1, 3))
    tags.append(metadata(tree.api, path, tags[2]).headers["etag"])
    assert len(set(tags)) == 4


def test_a_tag_changes_when_an_instance_is_replaced_and_not_when_another_one_is(tree: Tree) -> None:
    before = {(level, series): metadata(tree.api, tree.path(level, series)) for level in LEVELS for series in (1, 2)}
    uid = f"{tree.study}.1"
    file = instance(study=tree.study, series=uid, sop=f"{uid}.1", SeriesDescription="another")
    assert tree.api.store(file, method="PUT").status_code == 200
    changed = {
        (level, series)
        for (level, series), answer in before.items()
        if metadata(tree.api, tree.path(level, series), answer.headers["etag"]).status_code == 200
    }
    assert changed == {("study", 1), ("study", 2), ("series", 1), ("instance", 1)}


# Metadata


def test_metadata_of_what_is_not_there_is_not_found(tree: Tree) -> None:
    for path in (
        f"studies/{new_uid()}",
        f"studies/{tree.study}/series/{new_uid()}",
        f"{tree.path('series')}/instances/{new_uid()}",
    ):
        assert metadata(tree.api, path).status_code == 404


def rich_data_set(study: str, number: int) -> Dataset:
    """A data set with pixel data at the top and within a sequence, and a private attribute of text."""
    ds = pydicom.dcmread(BytesIO(instance(study=study, series=f"{study}.1", sop=f"{study}.1.{number}")))
    ds.SeriesDescription = "A series of the tests"
    icon = Dataset()
    icon.Rows, icon.Columns, icon.BitsAllocated = 2, 2, 8
    icon.add_new(0x7FE00010, "OB", b"\1\2\3\4")
    icon.SeriesDescription = "within"
    ds.IconImageSequence = Sequence([icon])
    ds.private_block(0x0009, "TESTS OF THE SERVICE", create=True).add_new(0x01, "LO", "kept")
    return ds


def without_bulk(data_set: dict[str, Any]) -> dict[str, Any]:
    """DICOM JSON without its bulk values, at every level."""
    return {
        tag: {**each, "Value": [without_bulk(item) for item in each["Value"]]} if each["vr"] == "SQ" else each
        for tag, each in data_set.items()
        if each["vr"] not in BULK_VRS
    }


def test_metadata_are_the_data_sets_without_their_bulk_values(versioned: Api) -> None:
    study = new_uid()
    data_sets = {str(each.SOPInstanceUID): each for each in (rich_data_set(study, number) for number in (1, 2))}
    assert versioned.store(*(file_of(each) for each in data_sets.values())).status_code == 200
    expected = {
        uid: without_bulk(json.loads(each.to_json(bulk_data_threshold=1 << 30))) for uid, each in data_sets.items()
    }
    for path, count in (
        (f"studies/{study}", 2),
        (f"studies/{study}/series/{study}.1", 2),
        (f"studies/{study}/series/{study}.1/instances/{study}.1.1", 1),
    ):
        answer = metadata(versioned, path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, DICOM_JSON)
        found = {value_of(each, "00080018"): each for each in answer.json()}
        assert len(found) == count
        for uid, data_set in found.items():
            assert without_bulk(data_set) == expected[uid]
            # What the original service leaves out is told by reference.
            assert set(data_set["7FE00010"]) == {"vr", "BulkDataURI"}
            assert set(value_of(data_set, "00880200")["7FE00010"]) == {"vr", "BulkDataURI"}
            assert value_of(data_set, "00091001") == "kept"


# Instances


@pytest.mark.parametrize("level", ["study", "series"])
def test_several_instances_come_byte_for_byte_and_no_others(tree: Tree, level: str) -> None:
    places = [(1, 1), (1, 2), *([(2, 1), (2, 2)] if level == "study" else [])]
    answer = tree.api.get(tree.path(level), AS_STORED)
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"')
    parts = parts_of(answer)
    assert {kind for kind, _ in parts} == {"application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
    assert sorted(data for _, data in parts) == sorted(tree.file(*place) for place in places)


def test_what_is_not_there_is_not_found(tree: Tree) -> None:
    for path in (
        f"studies/{new_uid()}",
        f"studies/{tree.study}/series/{new_uid()}",
        f"studies/{tree.other}/series/{tree.study}.1",
        f"{tree.path('series')}/instances/{new_uid()}",
        f"{tree.path('instance')}/frames/2",
        f"{tree.path('instance')}/frames/1,2",
    ):
        assert tree.api.get(path, "*/*").status_code == 404, path


@pytest.mark.parametrize("level", LEVELS)
def test_instances_without_pixel_data_come_as_they_are(api: Api, level: str) -> None:
    study = new_uid()
    tree = Tree(api, study, study)
    file = instance(study=study, series=f"{study}.1", sop=f"{study}.1.1", PixelData=None)
    assert api.store(file).status_code == 200
    assert api.files(tree.path(level)) == [file]


@pytest.mark.parametrize("accept", ["application/dicom", AS_STORED, 'multipart/related; type="application/dicom"'])
def test_an_instance_comes_in_one_part_or_as_one_of_several(tree: Tree, accept: str) -> None:
    answer = tree.api.get(tree.path("instance"), accept)
    file = tree.file(1, 1)
    if accept.startswith("multipart"):
        assert [data for _, data in parts_of(answer)] == [file]
    else:
        assert answer.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
        assert answer.content == file
