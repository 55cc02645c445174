"""The viewer's files, its pages and the functions on one origin: which of them answers what."""

from collections.abc import Iterator

import httpx
import pytest

from local.pages import HEADERS
from local.viewer import CONFIGURATION
from tests.local.hosting import running_host

APP = """
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{version}/studies", methods=["GET", "POST"])
async def studies(req: Request) -> Response:
    return JSONResponse({"answered": "studies"})


@app.route(route="{version}/studies/{study}", methods=["GET", "HEAD"])
async def study(req: Request) -> Response:
    return JSONResponse({"answered": "study"})
"""
INDEX = b"<!doctype html><title>The page</title>"
FILES = {
    "index.html": INDEX,
    "app-config.js": b"what the package came with",
    "bundle.js": b"let one = 1;" * 1000,
    "codec.wasm": b"\0asm\1\0\0\0",
    "assets/picture.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}
#: What a browser sends when a person opens a page, and what a script sends.
PAGE, DATA = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, {"Accept": "application/dicom+json"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("pages")
    app, viewer = folder / "app", folder / "viewer"
    for name, content in FILES.items():
        (viewer / name).parent.mkdir(parents=True, exist_ok=True)
        (viewer / name).write_bytes(content)
    (folder / "secret.txt").write_text("not to be served")
    app.mkdir()
    (app / "function_app.py").write_text(APP)
    (app / "host.json").write_text('{"extensions": {"http": {"routePrefix": ""}}}')
    with (
        running_host({}, folder / "log", app, ["--viewer", viewer]) as host,
        httpx.Client(base_url=host.url, trust_env=False) as opened,
    ):
        yield opened


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/index.html", "index.html", "text/html; charset=utf-8"),
        ("/bundle.js", "bundle.js", "text/javascript; charset=utf-8"),
        ("/codec.wasm", "codec.wasm", "application/wasm"),
        ("/assets/picture.svg", "assets/picture.svg", "image/svg+xml"),
    ],
)
def test_files_are_served_with_their_types_and_the_headers_of_an_isolated_page(
    client: httpx.Client, path: str, name: str, kind: str
) -> None:
    answer = client.get(path, headers=DATA)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, FILES[name])
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_the_configuration_is_ours(client: httpx.Client) -> None:
    assert client.get("/app-config.js").content == CONFIGURATION.read_bytes()


@pytest.mark.parametrize("path", ["/viewer", "/viewer?StudyInstanceUIDs=1.2", "/any/path/of/the/viewer"])
def test_a_path_of_the_viewer_is_its_page(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers=PAGE).content == INDEX


@pytest.mark.parametrize("headers", [PAGE, DATA])
@pytest.mark.parametrize(("path", "function"), [("/v2/studies", "studies"), ("/v2/studies/1.2", "study")])
def test_functions_keep_their_paths(client: httpx.Client, path: str, function: str, headers: dict[str, str]) -> None:
    answer = client.get(path, headers=headers)
    assert answer.json() == {"answered": function}
    assert "cross-origin-embedder-policy" not in answer.headers


def test_other_methods_go_to_the_functions(client: httpx.Client) -> None:
    assert client.post("/v2/studies").json() == {"answered": "studies"}
    assert client.post("/bundle.js").status_code == 404
    assert client.head("/v2/studies/1.2").status_code == 200
    assert client.head("/v2/studies").status_code == 404  # the app declares no HEAD there


def test_what_is_neither_is_not_found(client: httpx.Client) -> None:
    assert client.get("/missing.js", headers=DATA).status_code == 404
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "//etc/hostname"):
        # httpx would tidy the path up.
        request = client.build_request("GET", "/", headers=DATA)
        request.url = request.url.copy_with(raw_path=path.encode())
        assert client.send(request).status_code == 404, path


def test_a_file_that_has_not_changed_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/bundle.js")
    again = client.get("/bundle.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


def test_head_gives_the_headers_without_the_file(client: httpx.Client) -> None:
    answer = client.head("/bundle.js")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(FILES["bundle.js"])
