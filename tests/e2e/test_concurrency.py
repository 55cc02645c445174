"""Many clients at once, one study or several, one host or two: no instance and no count is lost."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.builders import instance
from tests.e2e.service import Api, Place, assert_consistent, new_uid, reasons_of, value_of

CLIENTS = 16


def small(study: str, number: int, series: int = 1) -> bytes:
    """A small instance whose bytes differ from those of every other number."""
    sop = f"{study}.{series}.{number}"
    return instance(study=study, series=f"{study}.{series}", sop=sop, rows=64, columns=64, InstanceNumber=number)


def all_at_once(calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Answers in the order of calls, `CLIENTS` of which run at a time."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return [each.result() for each in [clients.submit(call) for call in calls]]


def store_of(api: Api, *files: bytes, method: str = "POST") -> Callable[[], httpx.Response]:
    return lambda: api.store(*files, method=method)


@pytest.fixture
def pair(place: Place, tmp_path: Path) -> Iterator[tuple[Api, Api]]:
    """Two hosts, each a process of its own, on the same storage."""
    with (
        place.host(tmp_path / "one.log") as one,
        place.host(tmp_path / "two.log") as two,
        Api(one.url) as first,
        Api(two.url) as second,
    ):
        yield first, second


def test_a_study_stored_by_many_clients_is_complete_when_the_last_answer_arrives(api: Api) -> None:
    study = new_uid()
    files = [small(study, number) for number in range(500)]
    answers = all_at_once([store_of(api, each) for each in files])

    (found,) = api.search("studies", StudyInstanceUID=study)
    assert value_of(found, "00201208") == 500
    assert value_of(found, "00201206") == 1
    assert {answer.status_code for answer in answers} == {200}
    expected = {f"{study}.1.{number}" for number in range(500)}
    assert {value_of(each, "00080018") for each in api.metadata(f"studies/{study}")} == expected
    assert assert_consistent(api, study) == expected
    assert set(api.files(f"studies/{study}")) == set(files)


def test_several_studies_stored_at_once_do_not_mix(api: Api) -> None:
    studies = [new_uid() for _ in range(4)]
    files = [(study, small(study, number, number % 3)) for number in range(30) for study in studies]
    answers = all_at_once([store_of(api, each) for _, each in files])
    assert {answer.status_code for answer in answers} == {200}
    for study in studies:
        uids = assert_consistent(api, study)
        assert uids == {f"{study}.{number % 3}.{number}" for number in range(30)}
        (found,) = api.search("studies", StudyInstanceUID=study)
        assert (value_of(found, "00201206"), value_of(found, "00201208")) == (3, 30)


def test_requests_with_many_instances_of_one_study_share_it(api: Api) -> None:
    study = new_uid()
    requests = [[small(study, number, sender) for number in range(60)] for sender in range(4)]
    answers = all_at_once([store_of(api, *files) for files in requests])
    assert {answer.status_code for answer in answers} == {200}
    assert len(assert_consistent(api, study)) == 240


def test_two_hosts_that_store_one_study_lose_nothing(pair: tuple[Api, Api]) -> None:
    study = new_uid()
    files = [small(study, number, number % 2) for number in range(120)]
    answers = all_at_once([store_of(pair[number % 2], each) for number, each in enumerate(files)])
    assert {answer.status_code for answer in answers} == {200}
    for api in pair:
        (found,) = api.search("studies", StudyInstanceUID=study)
        assert value_of(found, "00201208") == 120
        assert len(assert_consistent(api, study)) == 120


def test_of_duplicates_sent_to_two_hosts_one_is_stored(pair: tuple[Api, Api]) -> None:
    study = new_uid()
    for number in range(20):
        file = small(study, number)
        answers = all_at_once([store_of(api, file) for api in pair])
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        (refused,) = (answer for answer in answers if answer.status_code == 409)
        assert reasons_of(refused) == [45070]
    assert len(assert_consistent(pair[0], study)) == 20


def test_of_duplicates_sent_to_one_host_one_is_stored(api: Api) -> None:
    study = new_uid()
    answers = all_at_once([store_of(api, small(study, number)) for number in range(10) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [409] * 30
    assert {tuple(reasons_of(answer)) for answer in answers if answer.status_code == 409} == {(45070,)}
    assert len(assert_consistent(api, study)) == 10


def test_stores_upserts_and_deletes_that_race_leave_right_counts(pair: tuple[Api, Api]) -> None:
    study = new_uid()
    files = {number: small(study, number, number % 2) for number in range(40)}
    assert pair[0].store(*files.values()).status_code == 200
    chance = random.Random(20240229)
    calls: list[Callable[[], httpx.Response]] = []
    for number in range(160):
        api, at = chance.choice(pair), chance.randrange(40)
        path = f"/studies/{study}/series/{study}.{at % 2}/instances/{study}.{at % 2}.{at}"
        if number % 4 == 0:
            calls.append(lambda api=api, path=path: api.http.delete(path))  # type: ignore[misc]
        else:
            calls.append(store_of(api, files[at], method=chance.choice(["PUT", "PUT", "POST"])))
    for answer in all_at_once(calls):
        assert answer.status_code in (200, 204, 404, 409), answer.text
    left = assert_consistent(pair[0], study)
    assert left == assert_consistent(pair[1], study) != set()
    assert set(pair[0].files(f"studies/{study}")) == {files[int(uid.rpartition(".")[2])] for uid in left}


def test_a_study_deleted_while_it_is_stored_is_gone_or_whole(pair: tuple[Api, Api]) -> None:
    study = new_uid()
    assert pair[0].store(*(small(study, number) for number in range(100))).status_code == 200
    begun = threading.Event()

    def delete() -> httpx.Response:
        begun.wait(10)
        return pair[0].http.delete(f"/studies/{study}")

    def store(number: int) -> httpx.Response:
        begun.set()
        return pair[1].store(small(study, number))

    calls = [delete, *(lambda number=number: store(number) for number in range(100, 140))]  # type: ignore[misc]
    answers = all_at_once(calls)
    assert answers[0].status_code == 204
    assert {answer.status_code for answer in answers[1:]} == {200}
    left = assert_consistent(pair[0], study)
    assert left <= {f"{study}.1.{number}" for number in range(100, 140)}
    assert pair[0].delete(f"studies/{study}") == (204 if left else 404)
    assert assert_consistent(pair[1], study) == set()


def test_every_rewrite_by_racing_upserts_is_one_of_those_sent_and_old_blobs_become_garbage(
    pair: tuple[Api, Api], place: Place
) -> None:
    study = new_uid()
    path = f"studies/{study}/series/{study}.1/instances/{study}.1.1"
    sent = [
        instance(study=study, series=f"{study}.1", sop=f"{study}.1.1", PatientID=f"ID{number}") for number in range(24)
    ]
    answers = all_at_once([store_of(pair[number % 2], each, method="PUT") for number, each in enumerate(sent)])
    assert {answer.status_code for answer in answers} == {200}
    (file,) = pair[0].files(path)
    assert file in sent
    assert assert_consistent(pair[1], study) == {f"{study}.1.1"}
    # What the index says of the study is what the surviving file says.
    patient = value_of(pair[0].metadata(path)[0], "00100020")
    assert patient.encode() in file
    (found,) = pair[0].search("studies", StudyInstanceUID=study)
    assert value_of(found, "00100020") == patient
    assert [value_of(each, "0020000D") for each in pair[0].search("studies", PatientID=patient)] == [study]
    noted = {name for row in place.rows("g") for name in row["blobs"].split()}
    assert len(noted) == 23
    assert len(place.blobs() - noted) == 1
