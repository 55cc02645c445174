"""docs/operations.md says what the service writes: real records, and its queries run over them (see kusto.py)."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from azure.data.tables import UpdateMode
from azure.storage.blob import ContainerClient

from benchmarks.costs import LINES, LINES_STREAMED, Assumptions
from local.azurite import Azurite
from shared.services.delete import UNFINISHED_AFTER
from shared.services.sweep import Swept
from shared.storage.index import LAYOUT
from shared.storage.text_writer import LEFT_AFTER
from shared.web.edge import Kind
from shared.web.journal import MAX_STUDIES
from tests.auth.issuer import AUDIENCE, CLIENT, SUBJECT, LocalIssuer
from tests.builders import instance
from tests.docs import kusto
from tests.docs.test_docs import read, section, table
from tests.docs.workbook import FILE, Query, queries, text_of, workbook
from tests.e2e.service import AS_STORED, DICOM_JSON, EVERY_SECOND, Place, new_uid, wait_until

DOCUMENT = "docs/operations.md"
KINDS = ("request", "sent", "audit", "job")
TYPES = {"text": str, "number": int, "truth": bool, "list": list, "object": dict}
#: As Azure Monitor numbers them.
SEVERITIES = {"INFO": 1, "WARNING": 2, "ERROR": 3, "CRITICAL": 4}
#: Columns of the tables that the queries read, as the reference of Azure Monitor has them.
METRICS = {"TimeGenerated", "ResourceProvider", "ResourceId", "MetricName", "Average"}


class Log:
    """What hosts have written, as Azure Monitor would have it."""

    def __init__(self, place: Place, study: str, text: str) -> None:
        self.place = place
        self.study = study
        self.rows = [_row(number, line) for number, line in enumerate(text.splitlines())]

    def records(self, kind: str) -> list[dict[str, Any]]:
        lines = [each["Message"] for each in self.rows]
        return [json.loads(each) for each in lines if each.startswith(f'{{"record":"{kind}"')]

    def run(self, query: str) -> list[dict[str, Any]]:
        metric = dict.fromkeys(METRICS, "") | {"TimeGenerated": _time(0), "Average": 99.0}
        metrics = [metric | {"ResourceProvider": "MICROSOFT.STORAGE", "MetricName": "Availability"}]
        return kusto.run(query, {"AppTraces": self.rows, "AzureMetrics": metrics})


def _time(number: int) -> datetime:
    return datetime.fromtimestamp(1_700_000_000 + number, UTC)


def _row(number: int, line: str) -> dict[str, Any]:
    """A row of AppTraces. What goes through a logger has time, level and name before it here, and not in Azure."""
    found = re.fullmatch(r"[\d-]+ [\d:,]+ ([A-Z]+) [\w.]+: (.*)", line)
    level, message = (found[1], found[2]) if found else ("INFO", line)
    return {
        "TimeGenerated": _time(number),
        "Message": message,
        "SeverityLevel": SEVERITIES.get(level, 0),
        "_BilledSize": float(len(message)),
    }


@pytest.fixture(scope="module")
def log(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """Hosts to which everything happens that can be written of: what goes well, and what does not."""
    place = Place.new(azurite.connection_string)
    study = new_uid()
    written = tmp_path_factory.mktemp("operations") / "host.log"
    with LocalIssuer() as issuer:
        tokens = {"AUTHENTICATION": "required", "AUTH_ISSUER": issuer.name, "AUTH_AUDIENCE": AUDIENCE}
        settings: dict[str, str | int] = {**tokens, "GARBAGE_GRACE_SECONDS": 0}
        owner, reader = ({"Authorization": f"Bearer {issuer.token(roles=[f'Dicom.{each}'])}"} for each in ROLES)
        with place.host(written, **settings) as host, _client(host.url, owner) as client:
            _everything(client, study, place, reader)
        # The note of what was deleted is due, and the sweep is what else may happen.
        with place.host(written, **settings, SWEEP_SCHEDULE=EVERY_SECOND, ORPHAN_SCHEDULE=EVERY_SECOND):
            wait_until(lambda: '"job":"find_orphans"' in written.read_text() and not place.rows("g"))
        with place.table() as index:
            layout = index.get_entity("!index", "layout")
            index.update_entity({**layout, "version": 99}, mode=UpdateMode.REPLACE)
        # An index that nobody can read.
        with place.host(written, **settings, SWEEP_SCHEDULE=EVERY_SECOND) as host, _client(host.url, owner) as client:
            assert client.get(f"/v2/studies/{study}/metadata").status_code == 503
            assert client.get("/health/check").status_code == 503
            wait_until(lambda: bool(re.search(r'"job":"sweep","error"', written.read_text())))
    yield Log(place, study, written.read_text())


ROLES = ("Owner", "Reader")


def _client(url: str, headers: dict[str, str]) -> httpx.Client:
    return httpx.Client(
        base_url=url, headers={"Accept": DICOM_JSON, **headers}, timeout=60, trust_env=False, follow_redirects=False
    )


def _everything(client: httpx.Client, study: str, place: Place, reader: dict[str, str]) -> None:
    series = f"/v2/studies/{study}/series/{study}.1"
    for number in range(3):
        file = instance(study=study, series=f"{study}.1", sop=f"{study}.1.{number}")
        assert client.post("/v2/studies", content=file, headers={"Content-Type": "application/dicom"}).is_success
    for path, accept in (
        (f"/v2/studies/{study}", AS_STORED),
        (f"/v2/studies/{study}/metadata", DICOM_JSON),
        (f"{series}/instances/{study}.1.0/frames/1", "*/*"),
        (f"{series}/instances/{study}.1.0/rendered", "image/png"),
        ("/v2/studies?PatientID=P", DICOM_JSON),
        (f"/v2/studies/{study}.9/metadata", DICOM_JSON),
        ("/v2/studies", "text/plain"),
        ("/health/check", DICOM_JSON),
    ):
        assert client.get(path, headers={"Accept": accept}).status_code in (200, 204, 404, 406)
    assert client.get("/v2/studies", headers={"Authorization": ""}).status_code == 401
    assert client.delete(f"/v2/studies/{study}", headers=reader).status_code == 403
    assert client.delete(f"{series}/instances/{study}.1.0").status_code == 204
    # Blobs that somebody has taken away: the answer has begun before the last of them is missed.
    versions = {row["RowKey"].rpartition("!")[2]: row["version"] for row in place.rows("i")}
    with ContainerClient.from_connection_string(place.connection, place.name) as container:
        container.delete_blob(versions[f"{study}.1.2"])
    with pytest.raises(httpx.HTTPError):
        client.get(f"/v2/studies/{study}", headers={"Accept": AS_STORED})


# The records


def documented(kind: str) -> list[list[str]]:
    """Field, type, when and meaning of every row of a record's table."""
    rows = table(section(read(DOCUMENT), f"`{kind}`").partition("`did` has these numbers")[0])
    return [[cells[0].strip("`"), *cells[1:]] for cells in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_records_have_the_documented_fields_in_their_order(log: Log, kind: str) -> None:
    records = log.records(kind)
    names = [name for name, *_ in documented(kind)]
    assert {name for each in records for name in each} == set(names)
    for each in records:
        assert [name for name in names if name in each] == list(each)


@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_there_when_the_document_says_so_and_of_its_type(log: Log, kind: str) -> None:
    records = log.records(kind)
    for name, type_name, when, _ in documented(kind):
        values = [each[name] for each in records if name in each]
        assert (when == "always") == (len(values) == len(records)), name
        assert {type(each) for each in values} - {type(None)} == {TYPES[type_name]}, name
        assert (None in values) == (name in ("caller", "application")), name


def test_the_numbers_of_a_job_are_documented() -> None:
    names = [cells[0].strip("`") for cells in table(section(read(DOCUMENT), "`job`").partition("`did` has")[2])]
    assert sorted(names) == sorted(asdict(Swept()))


def test_each_request_has_its_full_cost_in_exactly_one_line(log: Log) -> None:
    told = Counter(each["correlation"] for kind in ("request", "sent") for each in log.records(kind) if "bytes" in each)
    assert told == Counter(each["correlation"] for each in log.records("request"))


def test_requests_leave_as_many_lines_as_the_calculator_of_costs_counts(log: Log) -> None:
    lines = Counter(each["correlation"] for kind in KINDS[:3] for each in log.records(kind))
    streamed = {each["correlation"] for each in log.records("sent")}
    for each in log.records("request"):
        if each["operation"] != "check_health":
            correlation = each["correlation"]
            assert lines[correlation] == (LINES_STREAMED if correlation in streamed else LINES), each
    assert {each["operation"] for each in log.records("sent")} >= {"retrieve_frames", "retrieve_study_metadata"}
    # What is assumed of the platform comes on top.
    written = [len(row["Message"]) for row in log.rows if row["Message"].startswith('{"record"')]
    assert 150 < sum(written) / len(written) < Assumptions().line_bytes / 2


def test_what_the_document_says_of_the_audit_log_is_so(log: Log) -> None:
    text = section(read(DOCUMENT), "`audit`")
    labels = set(re.findall(r"`([A-Z][A-Za-z]+)`", text.partition("`operation`")[2].partition("\n")[0]))
    assert labels == {kind.label for kind in Kind if kind.action is not None}
    assert f"at most {MAX_STUDIES};" in text
    assert {each["operation"] for each in log.records("audit")} == labels


def test_the_times_of_what_a_crash_leaves_are_those_of_the_code() -> None:
    after = [cells[3] for cells in table(section(read(DOCUMENT), "An instance of the app has crashed"))]
    assert any(each.startswith("a minute") for each in after) and LEFT_AFTER == 60_000_000
    assert any(each.startswith("20 minutes") for each in after) and UNFINISHED_AFTER == 20 * 60_000_000


# The queries


def _id(query: Query) -> str:
    return query.heading


@pytest.mark.parametrize("query", queries(), ids=_id)
def test_a_query_reads_only_fields_that_records_have(log: Log, query: Query) -> None:
    kinds = re.findall(r"startswith '\{\"record\":\"(\w+)\"'", query.text)
    fields = {name for kind in kinds for name, *_ in documented(kind)} | {f"did.{name}" for name in asdict(Swept())}
    assert kusto.paths(query.text) <= fields
    assert bool(kinds) == ("parse_json" in query.text)


@pytest.mark.parametrize("query", queries(), ids=_id)
def test_a_query_finds_something(log: Log, query: Query) -> None:
    assert log.run(_filled(query, log)) != []


def _filled(query: Query, log: Log) -> str:
    """A query with what its reader has to fill in."""
    values = {
        "<x-ms-request-id>": log.records("request")[0]["correlation"],
        "<object id>": SUBJECT,
        "<name of the study>": log.records("audit")[0]["studies"][0],
    }
    text = query.text
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def found(log: Log, heading: str) -> list[dict[str, Any]]:
    (query, *_) = (each for each in queries() if each.heading == heading)
    return log.run(_filled(query, log))


def test_failures_are_found_with_their_reason(log: Log) -> None:
    failures = {(each["status"], each["operation"], each["error"]) for each in found(log, "Failures, by error")}
    assert failures == {
        (503, "retrieve_study_metadata", f"the index has another layout than {LAYOUT}"),
        (503, "check_health", ""),
    }
    assert {each["operation"] for each in found(log, "Answers that broke off")} == {"retrieve_study"}


def test_refusals_are_found_with_who_was_refused(log: Log) -> None:
    refused = {(each["status"], each["operation"], each["caller"]) for each in found(log, "Who was refused")}
    assert refused == {(401, "Query", ""), (403, "Delete", SUBJECT)}
    statuses = {each["status"] for each in found(log, "Refused requests, by status")}
    assert statuses == {401, 403, 404, 406}


def test_what_a_caller_did_and_what_was_done_to_a_study_are_found(log: Log) -> None:
    did = Counter(each["operation"] for each in found(log, "Everything a caller did"))
    assert did["Store"] == 3
    assert did["Delete"] == 2
    done = found(log, "Everything that was done to a study")
    assert {each["operation"] for each in done} == {
        "Store",
        "Retrieve",
        "RetrieveMetadata",
        "RetrieveRendered",
        "Delete",
    }
    assert {each["application"] for each in done} == {CLIENT}
    assert [each["studies"] for each in found(log, "Who deleted what")] == [f'["{_name(log)}"]']


def _name(log: Log) -> str:
    name: str = log.records("audit")[0]["studies"][0]
    return name


def test_jobs_are_summed(log: Log) -> None:
    jobs = {each["job"]: each for each in found(log, "What the timers did")}
    assert jobs["sweep"]["blobs"] == 1
    assert jobs["sweep"]["broken"] >= 1
    assert jobs["find_orphans"]["broken"] == 0
    assert sum(each["broken"] for each in found(log, "Work of the sweep that does not get done")) >= 1


def test_costs_of_streams_are_counted_once(log: Log) -> None:
    costs = {each["operation"]: each for each in found(log, "Storage calls and bytes, by operation")}
    frames = [each for each in log.records("sent") if each["operation"] == "retrieve_frames"]
    assert costs["retrieve_frames"]["requests"] == len(frames) == 1
    assert costs["retrieve_frames"]["callsEach"] == frames[0]["storageCalls"]


def test_alerts_name_queries_that_exist() -> None:
    text = section(read(DOCUMENT), "Alerts")
    named = set(re.findall(r"\*([A-Z][^*]+)\*", text))
    assert {"What the timers did", "Who was refused"} <= named <= {each.heading for each in queries()}


# The name of a study


def test_the_name_of_a_study_is_made_as_the_document_says(log: Log, azurite: Azurite) -> None:
    (block,) = re.findall(r"<!-- name of a study -->\n```sh\n(.*?)^```$", read(DOCUMENT), re.MULTILINE | re.DOTALL)
    program = block.partition("<<'END'\n")[2].partition("\nEND\n")[0]
    # Azurite is reached without Entra here: the credential is the one thing that differs.
    keyed = "AzureNamedKeyCredential(*os.environ['KEY'].split(' '))"
    for entra, here in (
        (
            "from azure.identity import DefaultAzureCredential",
            "from azure.core.credentials import AzureNamedKeyCredential",
        ),
        ("DefaultAzureCredential()", keyed),
    ):
        assert program.count(entra) == 1
        program = program.replace(entra, here)
    parts = dict(each.partition("=")[::2] for each in azurite.connection_string.split(";") if each)
    environment = {
        "DICOM_TABLE_ENDPOINT": azurite.table_endpoint,
        "DICOM_TABLE": log.place.name,
        "KEY": f"{parts['AccountName']} {parts['AccountKey']}",
    }
    ran = subprocess.run(
        [sys.executable, "-", log.study], input=program, env=environment, capture_output=True, text=True
    )
    assert (ran.stderr, ran.stdout.strip()) == ("", _name(log))


# The workbook


def test_the_workbook_has_the_queries_of_the_document() -> None:
    assert FILE.read_text(encoding="utf-8") == text_of(workbook()), "python -m tests.docs.workbook writes it anew"


def test_the_workbook_has_every_query_that_leaves_nothing_to_fill_in() -> None:
    items = json.loads(FILE.read_text(encoding="utf-8"))["items"]
    titles = Counter(each["content"]["title"] for each in items if each["type"] == 3)
    left = [each.heading for each in queries() if not each.is_complete]
    assert titles + Counter(left) == Counter(each.heading for each in queries())
    assert len(left) == 3
