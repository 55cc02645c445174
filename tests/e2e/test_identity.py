"""Storage by identity: the service holds no key, storage would take none; tokens come from where a platform has them.

That the whole tutorial works this way is in test_tutorial.py, which runs on both kinds of storage. What an identity may
do is not shown: Azurite does not look at it. The roles are the templates' part.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError

from local.settings import ACCOUNT, ACCOUNT_KEY
from tests.builders import instance
from tests.e2e.identity import (
    RESOURCE,
    Asked,
    IdentityEndpoint,
    KeylessStorage,
    identity_endpoint,
    json_answer,
    storage_token,
)
from tests.e2e.service import DICOM_JSON, Api, assert_consistent, new_uid, wait_until
from tests.e2e.test_log import ACCESSION, NAME, PATIENT_ID, walk

UNAVAILABLE = "The service is not available. Please try again later."


def test_container_and_table_are_made_with_the_token_alone(keyless: KeylessStorage, tmp_path: Path) -> None:
    place = keyless.place()
    study = new_uid()
    environment = place.environment()
    assert (environment["DICOM_STORAGE_CONNECTION"], environment["AzureWebJobsStorage"]) == ("", "")
    with keyless.clients() as (blobs, tables):
        assert not blobs.get_container_client(place.name).exists()
        assert place.name not in {each.name for each in tables.list_tables()}
    with place.host(tmp_path / "host.log") as host, Api(host.url) as api:
        health = httpx.get(f"{host.url}/health/check", trust_env=False)
        assert (health.status_code, health.json()["overallStatus"]) == (200, "Healthy")
        assert api.store(instance(study=study)).status_code == 200
        assert len(assert_consistent(api, study)) == 1
    assert len(place.blobs()) == 1
    assert len(place.rows("i")) == 1


def test_the_platform_is_asked_for_this_identity_and_this_resource_with_its_secret_and_seldom(
    keyless: KeylessStorage, tmp_path: Path
) -> None:
    with identity_endpoint() as identity:
        place = keyless.place(identity)
        # The first token takes a second, in which the fifty searches and the one that stores come to wait for it.
        identity.willing.clear()
        with (
            place.host(tmp_path / "host.log") as host,
            Api(host.url) as api,
            ThreadPoolExecutor(51) as threads,
        ):
            storing = threads.submit(api.store, instance())
            searching = [threads.submit(api.get, "studies") for _ in range(50)]
            wait_until(lambda: len(identity.asked) > 0)
            time.sleep(1)
            identity.willing.set()
            assert storing.result().status_code == 200
            assert {each.result().status_code for each in searching} <= {200, 204}
            for _ in range(20):
                assert api.get("instances").status_code == 200
        # The blob client asks for itself, and so does the table client.
        assert 1 <= len(identity.asked) <= 2
        parameters = {"api-version": "2019-08-01", "resource": RESOURCE, "client_id": identity.client_id}
        assert set(map(str, identity.asked)) == {str(Asked(parameters, identity.secret))}


# The table SDK looks at errors in XML in a way that Python will give up.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
def test_the_key_that_everybody_knows_is_refused(keyless: KeylessStorage, tmp_path: Path) -> None:
    place = keyless.place()
    with place.host(tmp_path / "host.log") as host:
        assert httpx.get(f"{host.url}/health/check", trust_env=False).status_code == 200
    with keyless.clients(AzureNamedKeyCredential(ACCOUNT, ACCOUNT_KEY)) as (blobs, tables):
        with pytest.raises(ClientAuthenticationError):
            blobs.get_container_client(place.name).get_container_properties()
        with pytest.raises(ClientAuthenticationError):
            list(tables.get_table_client(place.name).list_entities())
    # It is the key that is refused, not the way of asking: with the one nobody was told of, the same is answered.
    with keyless.clients(AzureNamedKeyCredential(ACCOUNT, keyless.guard.account_key)) as (blobs, tables):
        assert blobs.get_container_client(place.name).get_container_properties().name == place.name
        assert list(tables.get_table_client(place.name).list_entities()) != []


def test_no_request_of_a_service_carries_a_key(keyless: KeylessStorage, tmp_path: Path) -> None:
    before = keyless.schemes()["Bearer"]
    place, study = keyless.place(), new_uid()
    with place.host(tmp_path / "host.log") as host, Api(host.url) as api:
        assert api.store(instance(study=study)).status_code == 200
        assert len(assert_consistent(api, study)) == 1
        assert api.delete(f"studies/{study}") == 204
    with keyless.clients(AzureNamedKeyCredential(ACCOUNT, keyless.guard.account_key)) as (blobs, _):
        assert blobs.get_container_client(place.name).exists()
    # The log of the storage shows keys, as that of the test, and what the service did.
    wait_until(lambda: keyless.schemes(of_the_tests=True)["SharedKey"] > 0)
    wait_until(lambda: keyless.schemes()["Bearer"] > before + 10)
    assert set(keyless.schemes()) == {"Bearer"}


# What clients hear when there is no token


def assert_unavailable(client: httpx.Client) -> str:
    """The service says that it is not available, and why it is not well only where that is asked; returns that."""
    answer = client.get("/v2/studies", headers={"Accept": DICOM_JSON})
    assert (answer.status_code, answer.text) == (503, UNAVAILABLE)
    assert int(answer.headers["retry-after"]) > 0
    health = client.get("/health/check")
    assert (health.status_code, health.json()["overallStatus"]) == (503, "Unhealthy")
    assert [(each["name"], each["status"]) for each in health.json()["details"]] == [
        ("blobs", "Unhealthy"),
        ("index", "Unhealthy"),
    ]
    return health.text


def test_without_a_token_the_service_is_not_available_and_with_one_it_is_again(
    keyless: KeylessStorage, tmp_path: Path
) -> None:
    log = tmp_path / "host.log"
    with identity_endpoint() as identity:
        refusal = json_answer({"statusCode": 400, "message": "No identity PRIVATE-0815"}, 400)
        identity.misbehaviour = lambda: refusal
        place = keyless.place(identity)
        with place.host(log) as host, httpx.Client(base_url=host.url, timeout=120, trust_env=False) as client:
            told = assert_unavailable(client)
            assert [
                each for each in ("PRIVATE-0815", identity.client_id, identity.url, place.name) if each in told
            ] == []
            identity.misbehaviour = None
            wait_until(lambda: client.get("/health/check").status_code == 200)
            assert client.get("/v2/studies", headers={"Accept": DICOM_JSON}).status_code == 204
        assert identity.given != []
        assert_keeps_secrets(log, identity)


def test_with_a_token_that_has_expired_the_service_is_not_available(keyless: KeylessStorage, tmp_path: Path) -> None:
    log = tmp_path / "host.log"
    expired = storage_token(exp=1_700_000_000)
    with identity_endpoint() as identity:
        # As far as the endpoint knows, it is good for a long time: it is storage that does not take it.
        good_for = {"expires_on": str(int(time.time()) + 3600), "resource": RESOURCE, "token_type": "Bearer"}
        identity.misbehaviour = lambda: json_answer({"access_token": expired, **good_for})
        with (
            keyless.place(identity).host(log) as host,
            httpx.Client(base_url=host.url, timeout=120, trust_env=False) as client,
        ):
            assert expired not in assert_unavailable(client)
        identity.given.append(expired)
        assert_keeps_secrets(log, identity)


# What is written


def assert_keeps_secrets(log: Path, identity: IdentityEndpoint) -> None:
    """A host that got tokens has written something, but nothing of a token, nor the secret it gets them for."""
    written = log.read_text()
    assert "dicomweb.request" in written
    assert "Traceback" not in written
    assert identity.given != []
    secret = [identity.secret, *(part for token in identity.given for part in token.split(".")[1:])]
    assert [each for each in secret if each in written] == []


def test_no_token_and_nothing_that_names_a_patient_is_written(keyless: KeylessStorage, tmp_path: Path) -> None:
    with identity_endpoint() as identity:
        log = tmp_path / "host.log"
        done = walk(keyless.place(identity), log)
        assert len(done.records("request")) > 25
        told = [*done.uids, NAME, PATIENT_ID, ACCESSION, "Bearer "]
        assert [each for each in told if each.lower() in done.log.lower()] == []
        assert_keeps_secrets(log, identity)
