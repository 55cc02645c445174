"""Answers of searches that are larger than what is held of them."""

from collections.abc import Iterator

import pytest

from shared.web.search import HELD
from tests.builders import instance
from tests.e2e.service import DICOM_JSON, Api, new_uid, value_of

#: Characters of one value, of which a few are more than is held.
LONG = 400_000


@pytest.fixture(scope="module")
def study(api: Api) -> Iterator[str]:
    """Six instances, the metadata of each of which is large; it lies in a sidecar."""
    uid = new_uid()
    for number in range(6):
        file = instance(study=uid, series=f"{uid}.1", sop=f"{uid}.1.{number + 1}", TextValue=f"{number}" * LONG)
        assert api.store(file).status_code in (200, 202)
    yield uid


def test_a_large_answer_is_streamed_whole_and_in_order(api: Api, study: str) -> None:
    answer = api.get(f"studies/{study}/instances", includefield="all")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == DICOM_JSON
    assert "content-length" not in answer.headers
    assert len(answer.content) > 6 * LONG > HELD
    found = answer.json()
    assert [value_of(each, "0040A160") for each in found] == [f"{number}" * LONG for number in (5, 4, 3, 2, 1, 0)]
    names = api.get(f"studies/{study}/instances").json()
    assert [value_of(each, "00080018") for each in names] == [value_of(each, "00080018") for each in found]


def test_the_usual_answer_says_how_long_it_is(api: Api, study: str) -> None:
    answer = api.get(f"studies/{study}/instances")
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_head_of_a_large_answer_makes_up_no_length(api: Api, study: str) -> None:
    head = api.http.head(f"/studies/{study}/instances?includefield=all", headers={"Accept": DICOM_JSON})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers.get("content-length") is None
