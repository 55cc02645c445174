"""The Python dicomweb-client, with the arguments it has by default, from store to delete; and its command line."""

import itertools
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset, dcmread
from requests import HTTPError

from tests.builders import instance
from tests.clients.files import DOCUMENT, Sample
from tests.e2e.service import new_uid


@pytest.fixture(scope="module")
def client(root: str) -> Iterator[DICOMwebClient]:
    opened = DICOMwebClient(root)
    # pytest makes an error of the warning that a session nobody closed gives.
    yield opened
    opened._session.close()


@pytest.fixture(scope="module")
def sample(client: DICOMwebClient) -> Sample:
    """The study, stored by the client."""
    made = Sample.new()
    answer = client.store_instances(made.data_sets())
    stored = [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence]
    assert sorted(stored) == sorted(made.files)
    assert "FailedSOPSequence" not in answer
    return made


def by_uid(data_sets: list[Dataset]) -> dict[str, Dataset]:
    return {str(ds.SOPInstanceUID): ds for ds in data_sets}


def uids(found: list[dict[str, Any]], tag: str) -> list[str]:
    return sorted(each[tag]["Value"][0] for each in found)


# Store


def test_a_body_of_more_than_a_megabyte_goes_out_in_chunks_and_arrives(
    client: DICOMwebClient, sample: Sample, caplog: pytest.LogCaptureFixture
) -> None:
    another = Sample.new()
    with caplog.at_level(logging.INFO, "dicomweb_client"):
        client.store_instances(another.data_sets(), another.study)
    assert "chunked transfer encoding" in caplog.text
    assert len(client.retrieve_study_metadata(another.study)) == len(another.files)
    client.delete_study(another.study)


def test_an_instance_that_is_there_already_raises(client: DICOMwebClient, sample: Sample) -> None:
    with pytest.raises(HTTPError) as raised:
        client.store_instances(sample.data_sets()[:1])
    assert raised.value.response.status_code == 409


# Search


def test_studies_are_found_by_attributes_patterns_words_and_dates(client: DICOMwebClient, sample: Sample) -> None:
    for filters, fuzzy in (
        ({"StudyInstanceUID": sample.study}, None),
        ({"StudyInstanceUID": sample.study, "PatientName": "*oe^T*"}, None),
        ({"StudyInstanceUID": sample.study, "PatientName": "doe tes"}, True),
        ({"0020000D": sample.study, "StudyDate": "20240101-20241231"}, False),
        ({"StudyInstanceUID": sample.study, "ModalitiesInStudy": "CT"}, None),
    ):
        found = client.search_for_studies(search_filters=filters, fuzzymatching=fuzzy)
        assert uids(found, "0020000D") == [sample.study], filters
    missing = {"StudyInstanceUID": sample.study, "PatientName": "nobody"}
    assert client.search_for_studies(search_filters=missing) == []


def test_series_and_instances_are_found_everywhere_and_below_their_parents(
    client: DICOMwebClient, sample: Sample
) -> None:
    series = client.search_for_series(search_filters={"SeriesInstanceUID": sample.slices})
    assert uids(series, "0020000E") == [sample.slices]
    assert uids(client.search_for_series(sample.study), "0020000E") == [sample.slices, sample.others]
    instances = client.search_for_instances(search_filters={"SOPInstanceUID": sample.document})
    assert uids(instances, "00080018") == [sample.document]
    assert uids(client.search_for_instances(sample.study), "00080018") == sorted(sample.files)
    found = client.search_for_instances(sample.study, sample.slices)
    assert uids(found, "00080018") == sorted(uid for uid in sample.files if uid.startswith(f"{sample.slices}."))


def test_fields_are_included_when_they_are_asked_for(client: DICOMwebClient, sample: Sample) -> None:
    found = client.search_for_series(sample.study, fields=["SeriesDescription", "BodyPartExamined"])
    (slices,) = [each for each in found if each["0020000E"]["Value"] == [sample.slices]]
    assert slices["0008103E"]["Value"] == ["Axial 5 mm"]
    assert slices["00180015"]["Value"] == ["CHEST"]


def test_pages_add_up_to_everything(client: DICOMwebClient, sample: Sample) -> None:
    pages = [client.search_for_instances(sample.study, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert uids(list(itertools.chain(*pages)), "00080018") == sorted(sample.files)
    remaining = client.search_for_instances(sample.study, limit=2, get_remaining=True)
    assert uids(remaining, "00080018") == sorted(sample.files)


def test_results_read_as_data_sets(client: DICOMwebClient, sample: Sample) -> None:
    (found,) = client.search_for_studies(search_filters={"StudyInstanceUID": sample.study})
    ds = Dataset.from_json(found)
    assert (str(ds.PatientName), ds.NumberOfStudyRelatedInstances) == ("Doe^Test", len(sample.files))


# Retrieve


def test_studies_series_and_instances_come_back_as_they_were_stored(client: DICOMwebClient, sample: Sample) -> None:
    stored = by_uid(sample.data_sets())
    assert by_uid(client.retrieve_study(sample.study)) == stored
    assert by_uid(list(client.iter_study(sample.study))) == stored
    assert by_uid(client.retrieve_series(sample.study, sample.slices)) == by_uid(sample.data_sets(sample.slices))
    assert client.retrieve_instance(sample.study, sample.others, sample.document) == stored[sample.document]
    original = (("application/dicom", "*"),)
    found = client.retrieve_instance(sample.study, sample.others, sample.multiframe, media_types=original)
    assert found == stored[sample.multiframe]


def test_metadata_names_every_value_but_the_bulk(client: DICOMwebClient, sample: Sample) -> None:
    stored = by_uid(sample.data_sets())
    for found in (
        client.retrieve_study_metadata(sample.study),
        client.retrieve_series_metadata(sample.study, sample.slices),
        [client.retrieve_instance_metadata(sample.study, sample.others, sample.multiframe)],
    ):
        assert found
        for document in found:
            ds = Dataset.from_json(document, bulk_data_uri_handler=lambda _tag, _vr, _uri: b"")
            original = stored[str(ds.SOPInstanceUID)]
            for element in original:
                if element.keyword not in {"PixelData", "EncapsulatedDocument"}:
                    assert ds[element.tag].value == element.value, element.keyword


@pytest.mark.parametrize("media_types", [None, ("application/octet-stream",)])
def test_frames_are_the_pixels_that_were_stored(
    client: DICOMwebClient, sample: Sample, media_types: tuple[str, ...] | None
) -> None:
    address = (sample.study, sample.others, sample.multiframe)
    pixels = dcmread(BytesIO(sample.files[sample.multiframe])).PixelData
    size = len(pixels) // 3
    wanted = [pixels[size : 2 * size], pixels[2 * size :]]
    assert client.retrieve_instance_frames(*address, [2, 3], media_types=media_types) == wanted
    assert list(client.iter_instance_frames(*address, [2, 3], media_types=media_types)) == wanted


def image(data: bytes) -> tuple[str | None, tuple[int, int], int]:
    """The format, the size and the number of colours of a picture."""
    with Image.open(BytesIO(data)) as opened:
        colours = opened.convert("RGB").getcolors(1 << 24) or []
        return opened.format, opened.size, len(colours)


#: The made-up slices lie outside the window that their headers name; within this one they are a ramp of grey.
RAMP = {"window": "-768,512,linear"}


def test_rendered_images_open_as_pictures(client: DICOMwebClient, sample: Sample) -> None:
    address = (sample.study, sample.others, sample.multiframe)
    one = (sample.study, sample.slices, f"{sample.slices}.1")
    png, jpeg = ("image/png",), ("image/jpeg",)
    for data, wanted, size in (
        (client.retrieve_instance_rendered(*one, params=RAMP), "JPEG", (512, 512)),
        (client.retrieve_instance_rendered(*one, media_types=png, params=RAMP), "PNG", (512, 512)),
        (client.retrieve_instance_rendered(*one, media_types=jpeg, params=RAMP), "JPEG", (512, 512)),
        (client.retrieve_series_rendered(sample.study, sample.slices, params=RAMP), "JPEG", (512, 512)),
        (client.retrieve_instance_rendered(*address), "JPEG", (48, 32)),
        (client.retrieve_instance_frames_rendered(*address, [2], media_types=png), "PNG", (48, 32)),
    ):
        kind, found_size, colours = image(data)
        assert (kind, found_size) == (wanted, size)
        assert colours > 50


def test_rendered_images_take_quality_viewport_and_window(client: DICOMwebClient, sample: Sample) -> None:
    address = (sample.study, sample.slices, f"{sample.slices}.1")
    poor, good = (
        client.retrieve_instance_rendered(*address, params={"quality": quality, **RAMP}) for quality in (10, 95)
    )
    assert len(poor) < len(good)
    small = client.retrieve_instance_rendered(
        *address, media_types=("image/png",), params={"viewport": "64,64", **RAMP}
    )
    assert image(small)[1] == (64, 64)
    as_named = client.retrieve_instance_rendered(*address, media_types=("image/png",))
    assert image(as_named)[2] == 1


def test_bulk_data_come_from_the_place_that_the_metadata_name(
    client: DICOMwebClient, sample: Sample, root: str
) -> None:
    metadata = client.retrieve_instance_metadata(sample.study, sample.others, sample.document)
    url = metadata["00420011"]["BulkDataURI"]
    assert url.startswith(f"{root}/studies/{sample.study}/")
    wanted = dcmread(BytesIO(sample.files[sample.document])).EncapsulatedDocument
    assert wanted.startswith(DOCUMENT)
    assert client.retrieve_bulkdata(url) == [wanted]
    assert list(client.iter_bulkdata(url)) == [wanted]
    assert client.retrieve_bulkdata(url, media_types=("application/octet-stream",)) == [wanted]


def test_a_thumbnail_is_a_small_picture(client: DICOMwebClient, sample: Sample, root: str) -> None:
    # The client has no method for thumbnails; this is the request it makes for other pictures.
    url = f"{root}/studies/{sample.study}/series/{sample.slices}/instances/{sample.slices}.1/thumbnail"
    answer = client._http_get(url, headers={"Accept": "image/jpeg"})
    kind, size, _ = image(answer.content)
    assert kind == "JPEG"
    assert max(size) <= 512


# Delete


def test_instances_series_and_studies_are_deleted(client: DICOMwebClient) -> None:
    made = Sample.new()
    client.store_instances(made.data_sets())
    client.delete_instance(made.study, made.others, made.document)
    assert len(client.search_for_instances(made.study)) == len(made.files) - 1
    client.delete_series(made.study, made.others)
    assert uids(client.search_for_series(made.study), "0020000E") == [made.slices]
    client.delete_study(made.study)
    assert client.search_for_studies(search_filters={"StudyInstanceUID": made.study}) == []
    with pytest.raises(HTTPError) as raised:
        client.retrieve_study(made.study)
    assert raised.value.response.status_code == 404


# The command line


def command_line(root: str, *arguments: str) -> str:
    """What the client's program prints; it must succeed."""
    command = [Path(sys.executable).parent / "dicomweb_client", "--url", root, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line_stores_searches_and_retrieves(root: str, tmp_path: Path) -> None:
    study = new_uid()
    uid = f"{study}.1.1"
    file = tmp_path / "one.dcm"
    file.write_bytes(instance(study=study, series=f"{study}.1", sop=uid, PatientName="Line^Command"))
    command_line(root, "store", "instances", str(file))
    search = ("search", "studies", "--filter", f"StudyInstanceUID={study}")
    assert [each["0020000D"]["Value"] for each in json.loads(command_line(root, *search))] == [[study]]
    assert "Line^Command" in command_line(root, *search, "--limit", "1", "--dicomize")
    metadata = command_line(root, "retrieve", "studies", "--study", study, "metadata")
    assert json.loads(metadata)[0]["00080018"]["Value"] == [uid]
    where = ("--study", study, "--series", f"{study}.1", "--instance", uid)
    folder = tmp_path / "retrieved"
    folder.mkdir()
    command_line(root, "retrieve", "instances", *where, "full", "--save", "--output-dir", str(folder))
    (saved,) = folder.iterdir()
    assert dcmread(saved) == dcmread(file)
