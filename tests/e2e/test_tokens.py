"""A service that requires tokens, and an issuer that signs them: who gets in, for what, and what the others hear."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.dicomweb.operation import Operation
from shared.dicomweb.operations import OPERATIONS
from tests.auth.gates import TENANT
from tests.auth.issuer import AUDIENCE, CLIENT, SUBJECT, LocalIssuer, encoded, segment, signed_with_secret
from tests.builders import instance
from tests.e2e.service import DICOM_JSON, Place, new_uid
from tests.local.hosting import RunningHost

UNKNOWN = {"study": "2.25.1", "series": "2.25.2", "instance": "2.25.3", "frames": "1", "attribute": "7FE00010"}
GUARDED = [(method, each) for each in OPERATIONS if each.guarded for method in each.methods]
OPEN = [(method, each) for each in OPERATIONS if not each.guarded for method in each.methods]

#: What each role of the default setting may do.
MAY = {
    "Dicom.Owner": {"read", "write", "delete"},
    "Dicom.ReadWrite": {"read", "write", "delete"},
    "Dicom.Reader": {"read"},
    "Dicom.Read": {"read"},
    "Dicom.Write": {"write"},
    "Dicom.Delete": {"delete"},
    "Dicom.Unknown": set(),
}
ACTIONS = {"Store": "write", "Delete": "delete"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    with LocalIssuer() as local:
        yield local


@pytest.fixture(scope="module")
def host(session_place: Place, issuer: LocalIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    place = Place.new(session_place.connection)
    settings = {"AUTHENTICATION": "required", "AUTH_ISSUER": issuer.name, "AUTH_AUDIENCE": f"{AUDIENCE}, other"}
    with place.host(tmp_path_factory.mktemp("tokens") / "host.log", **settings) as started:
        yield started


@pytest.fixture(scope="module")
def client(host: RunningHost) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=60, trust_env=False) as opened:
        yield opened


def path_of(operation: Operation) -> str:
    return "/" + operation.path.format(version="v2", **UNKNOWN)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def named(value: Any) -> str:
    return value.name if isinstance(value, Operation) else str(value)


# Who is let in


@pytest.mark.parametrize(("method", "operation"), GUARDED, ids=named)
def test_without_a_token_every_operation_is_401(client: httpx.Client, method: str, operation: Operation) -> None:
    for version in ("v2", "v1", "v9"):
        answer = client.request(method, path_of(operation).replace("v2", version, 1))
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer authorization_uri="http://127.0.0.1:')
        assert challenge.endswith(f', resource_id="{AUDIENCE}", realm="{AUDIENCE}"')
        assert answer.headers["api-supported-versions"]


def test_the_misspelt_route_of_the_tutorial_is_no_way_around(client: httpx.Client) -> None:
    for method in ("GET", "HEAD"):
        assert client.request(method, "/v2/studies2.25.1/series/2.25.2/metadata").status_code == 401


@pytest.mark.parametrize(("method", "operation"), OPEN, ids=named)
def test_descriptions_and_health_are_open_to_all(client: httpx.Client, method: str, operation: Operation) -> None:
    assert client.request(method, path_of(operation)).status_code == 200
    assert client.request(method, path_of(operation), headers=bearer("nonsense")).status_code == 200


@pytest.mark.parametrize("role", MAY)
def test_a_role_allows_what_the_setting_says_and_no_more(client: httpx.Client, issuer: LocalIssuer, role: str) -> None:
    headers = bearer(issuer.token(roles=[role]))
    for method, operation in GUARDED:
        answer = client.request(method, path_of(operation), headers=headers)
        allowed = ACTIONS.get(operation.group, "read") in MAY[role]
        assert (answer.status_code != 403) == allowed, (role, method, operation.name)
        assert answer.status_code not in (401, 500, 503)
        if not allowed and method != "HEAD":
            assert answer.text == "Authorization failed."


def test_the_life_of_a_study_takes_three_rights(client: httpx.Client, issuer: LocalIssuer) -> None:
    study = new_uid()
    file = instance(study=study, series=f"{study}.1", sop=f"{study}.1.1")
    writer, reader, remover = (bearer(issuer.token(roles=[f"Dicom.{each}"])) for each in ("Write", "Read", "Delete"))
    typed = {"Content-Type": "application/dicom", "Accept": DICOM_JSON}
    for headers in ({}, reader, remover):
        assert client.post("/v2/studies", content=file, headers={**typed, **headers}).status_code in (401, 403)
    assert client.get(f"/v2/studies/{study}/metadata", headers=reader).status_code == 404
    assert client.post("/v2/studies", content=file, headers={**typed, **writer}).status_code == 200
    assert client.get(f"/v2/studies/{study}", headers=writer).status_code == 403
    assert client.get(f"/v2/studies/{study}", headers=reader).status_code == 200
    assert client.delete(f"/v2/studies/{study}", headers=reader).status_code == 403
    assert client.delete(f"/v2/studies/{study}", headers=remover).status_code == 204


def test_a_large_body_without_a_right_is_answered_and_not_stored(client: httpx.Client, issuer: LocalIssuer) -> None:
    headers = {"Content-Type": "application/dicom", **bearer(issuer.token(roles=["Dicom.Read"]))}
    answer = client.post("/v2/studies", content=bytes(5_000_000), headers=headers)
    assert (answer.status_code, answer.text) == (403, "Authorization failed.")


# Who is not


def hostile(issuer: LocalIssuer) -> dict[str, str]:
    """Values of Authorization that let nobody in."""
    good = issuer.token()
    header, claims, signature = good.split(".")
    rotated = LocalIssuer()
    rotated.rotate()
    public = issuer.key_set()
    return {
        "empty": "",
        "no scheme": good,
        "another scheme": f"Basic {good}",
        "no token": "Bearer",
        "two tokens": f"Bearer {good} {good}",
        "two in one": f"Bearer {good}, Bearer {good}",
        "alg none": f"Bearer {segment({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
        "alg none, signed": f"Bearer {segment({'alg': 'none', 'kid': issuer.key.name})}.{claims}.{signature}",
        "HS256 with the published key": "Bearer "
        + signed_with_secret({"alg": "HS256", "kid": issuer.key.name}, issuer.claims(), public),
        "RS256 says the header": "Bearer "
        + signed_with_secret({"alg": "RS256", "kid": issuer.key.name}, issuer.claims(), public),
        "another audience": f"Bearer {issuer.token(aud='api://else')}",
        "another issuer": f"Bearer {issuer.token(iss='https://else.example')}",
        "expired": f"Bearer {issuer.token(exp=1_000_000_000)}",
        "not valid yet": f"Bearer {issuer.token(nbf=4_000_000_000)}",
        "never expires": f"Bearer {issuer.token(exp=None)}",
        "nobody": f"Bearer {issuer.token(sub=None)}",
        "another's key": f"Bearer {issuer.sign(issuer.claims(), rotated.key)}",
        "another's key under this name": f"Bearer {issuer.sign(issuer.claims(), rotated.key, kid=issuer.key.name)}",
        "its own key": "Bearer " + issuer.sign(issuer.claims(), rotated.key, kid="x", jwk=rotated.key.jwk()),
        "a URL for its key": "Bearer " + issuer.sign(issuer.claims(), rotated.key, jku="http://127.0.0.1:1/keys"),
        "critical": f"Bearer {issuer.sign(issuer.claims(), crit=['exp'])}",
        "changed claims": f"Bearer {header}.{segment(issuer.claims(roles=['Dicom.Owner'], exp=4e9))}.{signature}",
        "cut": f"Bearer {good[:-5]}",
        "not base64": f"Bearer {header}.!!!.{signature}",
        "bomb": f"Bearer {encoded(b'[' * 5000)}.{claims}.{signature}",
        "many dots": "Bearer " + "." * 5000,
        "huge": f"Bearer {issuer.token(padding='x' * 20_000)}",
    }


def test_hostile_tokens_are_401_and_their_content_is_repeated_nowhere(
    client: httpx.Client, issuer: LocalIssuer, host: RunningHost
) -> None:
    for name, value in hostile(issuer).items():
        answer = client.get("/v2/studies", headers={"Authorization": value})
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert len(answer.text) < 120
        assert not any(piece in answer.text for piece in value.split(".") if len(piece) > 20), name
    headers = [("Authorization", f"Bearer {issuer.token()}")] * 2
    assert client.get("/v2/studies", headers=headers).status_code == 401
    log = host.log.read_text()
    assert "eyJ" not in log
    assert base64.urlsafe_b64encode(b'{"alg"')[:6].decode() not in log


def test_the_audit_log_says_who_it_was_by_opaque_ids(
    client: httpx.Client, issuer: LocalIssuer, host: RunningHost
) -> None:
    claims = {"name": "Jane Fernwood", "preferred_username": "jane@example.org", "email": "jane@example.org"}
    answer = client.get("/v2/studies", headers=bearer(issuer.token(**claims)))
    correlation = answer.headers["x-ms-request-id"]
    log = host.log.read_text()
    (line,) = [each for each in log.splitlines() if correlation in each and '"record":"audit"' in each]
    record = json.loads(line[line.index("{") :])
    assert (record["caller"], record["application"]) == (SUBJECT, CLIENT)
    assert "jane" not in log.lower()


# Keys


def test_a_key_that_is_new_is_fetched_and_a_flood_of_made_up_ones_is_not(session_place: Place, tmp_path: Path) -> None:
    with LocalIssuer() as local:
        settings = {"AUTHENTICATION": "required", "AUTH_ISSUER": local.name, "AUTH_AUDIENCE": AUDIENCE}
        place = Place.new(session_place.connection)
        with place.host(tmp_path / "log", **settings) as started:
            limits = httpx.Limits(max_connections=20)
            with httpx.Client(base_url=started.url, trust_env=False, timeout=60, limits=limits) as caller:
                assert caller.get("/v2/studies", headers=bearer(local.token())).status_code == 204
                assert local.fetches == 1
                old = local.token()
                local.rotate()
                assert caller.get("/v2/studies", headers=bearer(local.token())).status_code == 204
                assert caller.get("/v2/studies", headers=bearer(old)).status_code == 401  # its key is withdrawn
                assert local.fetches == 2
                made_up = [local.sign(local.claims(), kid=f"made-up-{number}") for number in range(200)]
                good = local.token()
                with ThreadPoolExecutor(20) as pool:
                    statuses = list(
                        pool.map(
                            lambda token: caller.get("/v2/studies", headers=bearer(token)).status_code,
                            [each for token in made_up for each in (token, good)],
                        )
                    )
                assert statuses == [401, 204] * 200
                assert local.fetches <= 3
                local.stop()
                assert caller.get("/v2/studies", headers=bearer(good)).status_code == 204


def test_without_the_issuer_nobody_can_be_told_apart_until_it_is_back(session_place: Place, tmp_path: Path) -> None:
    local = LocalIssuer().start()
    local.stop()
    settings = {"AUTHENTICATION": "required", "AUTH_ISSUER": local.name, "AUTH_AUDIENCE": AUDIENCE}
    place = Place.new(session_place.connection)
    with (
        place.host(tmp_path / "log", **settings) as started,
        httpx.Client(base_url=started.url, trust_env=False) as asks,
    ):
        answer = asks.get("/v2/studies", headers=bearer(local.token()))
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert asks.get("/v2/studies").status_code == 401
        assert asks.get("/health/check").status_code == 200


# Entra


def test_a_tenant_of_entra_is_trusted_by_its_id(session_place: Place, tmp_path: Path) -> None:
    with LocalIssuer(TENANT) as local:
        settings = {
            "AUTHENTICATION": "required",
            "AUTH_AUTHORITY": local.url,
            "AUTH_TENANT_ID": TENANT,
            "AUTH_AUDIENCE": AUDIENCE,
        }
        place = Place.new(session_place.connection)
        with (
            place.host(tmp_path / "log", **settings) as started,
            httpx.Client(base_url=started.url, trust_env=False) as asks,
        ):
            version_1 = {"iss": f"https://sts.windows.net/{TENANT}/", "ver": "1.0", "azp": None, "appid": CLIENT}
            delegated = {"scp": "Dicom.Read", "oid": SUBJECT}
            for claims, status in (
                ({}, 204),
                (version_1, 204),
                (delegated, 204),
                ({"scp": "Dicom.Write"}, 403),
                ({"roles": None, "scp": "Dicom.Read"}, 403),
                ({"tid": TENANT.replace("7", "8")}, 401),
                ({"iss": local.name.replace("v2.0", "v1.0")}, 401),
            ):
                answer = asks.get("/v2/studies", headers=bearer(local.token(**claims)))
                assert answer.status_code == status, claims
            challenge = asks.get("/v2/studies").headers["www-authenticate"]
            assert f'authorization_uri="{local.url}/{TENANT}"' in challenge
