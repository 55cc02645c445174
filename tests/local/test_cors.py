"""What the local host tells browsers whose page comes from another origin."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.cors import EXPOSED
from tests.local.hosting import TOY_APP, running_host

HERE, ALSO, ELSEWHERE = "http://localhost:3000", "https://viewer.example.org", "http://elsewhere.example.org"


def started(folder: Path, host: dict[str, object]) -> Iterator[httpx.Client]:
    for name in ("function_app.py", "host.json"):
        (folder / name).write_bytes((TOY_APP / name).read_bytes())
    (folder / "local.settings.json").write_text(json.dumps({"Host": host}))
    with (
        running_host({"TOY_SCHEDULE": "0 0 0 1 1 *"}, folder / "log", folder) as running,
        httpx.Client(base_url=running.url, trust_env=False) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A host that trusts two origins, with credentials."""
    yield from started(tmp_path_factory.mktemp("listed"), {"CORS": f"{HERE}, {ALSO}", "CORSCredentials": True})


@pytest.fixture(scope="module")
def anyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from started(tmp_path_factory.mktemp("anyone"), {"CORS": "*"})


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from started(tmp_path_factory.mktemp("nobody"), {})


def preflight(client: httpx.Client, path: str, origin: str, method: str, headers: str = "") -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return client.options(path, headers=asked)


def granted(answer: httpx.Response) -> dict[str, str]:
    """The headers that a browser's decision rests on."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", ["/items/7", "/items/special", "/upload", "/no/function/here", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_a_preflight_is_answered_for_every_path_and_method(listed: httpx.Client, path: str, method: str) -> None:
    answer = preflight(listed, path, HERE, method, "authorization,accept")
    assert (answer.status_code, answer.content) == (204, b"")
    assert granted(answer) == {
        "access-control-allow-origin": HERE,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": method,
        "access-control-allow-headers": "authorization,accept",
    }
    assert answer.headers["vary"] == "Origin"


def test_an_answer_may_be_read_with_the_headers_that_viewers_need(listed: httpx.Client) -> None:
    answer = listed.get("/download?size=1", headers={"Origin": ALSO})
    assert (answer.status_code, answer.content) == (200, b"\0")
    assert granted(answer) == {
        "access-control-allow-origin": ALSO,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": ", ".join(EXPOSED),
    }
    assert {"ETag", "Content-Range", "Accept-Ranges", "Warning", "Link", "X-Total-Count", "Location"} <= set(EXPOSED)


@pytest.mark.parametrize("path", ["/fail", "/items/7"])
def test_a_failure_may_be_read_as_well(listed: httpx.Client, path: str) -> None:
    answer = listed.post(path, headers={"Origin": HERE})
    assert answer.status_code in {404, 500}
    assert answer.headers["access-control-allow-origin"] == HERE


def test_another_origin_gets_answers_that_its_browser_withholds(listed: httpx.Client) -> None:
    assert granted(preflight(listed, "/items/7", ELSEWHERE, "GET")) == {}
    answer = listed.get("/items/7", headers={"Origin": ELSEWHERE})
    assert answer.status_code == 200
    assert granted(answer) == {}


def test_every_origin_may_be_trusted(anyone: httpx.Client) -> None:
    answer = preflight(anyone, "/items/7", ELSEWHERE, "DELETE")
    assert granted(answer) == {"access-control-allow-origin": "*", "access-control-allow-methods": "DELETE"}
    answer = anyone.get("/items/7", headers={"Origin": ELSEWHERE})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "vary" not in answer.headers


def test_requests_without_an_origin_are_left_alone(listed: httpx.Client) -> None:
    assert granted(listed.get("/items/7")) == {}
    # No preflight: an app may have functions for OPTIONS, and this one has none.
    assert listed.options("/items/7").status_code == 404
    assert listed.options("/items/7", headers={"Origin": HERE}).status_code == 404


def test_without_the_setting_nobody_is_trusted(nobody: httpx.Client) -> None:
    assert preflight(nobody, "/items/7", HERE, "GET").status_code == 404
    assert granted(nobody.get("/items/7", headers={"Origin": HERE})) == {}
