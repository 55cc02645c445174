"""How the descriptions of the service are answered."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import Response

from shared.dicomweb.versions import VERSIONS
from shared.web.description import DescriptionHandlers
from tests.web.requests import answered

HANDLERS = DescriptionHandlers()
ROOT = Path(__file__).resolve().parent.parent.parent


def request(version: str, query: str = "", **headers: str) -> Request:
    sent = {"host": "127.0.0.1:7071", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": f"/{version}",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "path_params": {"version": version},
        }
    )


def body(answer: Response) -> bytes:
    return bytes(answer.body)


@pytest.mark.parametrize("version", VERSIONS)
async def test_yaml_and_json_say_the_same(version: str) -> None:
    as_yaml, as_json = await HANDLERS.openapi_yaml(request(version)), await HANDLERS.openapi_json(request(version))
    assert (as_yaml.status_code, as_yaml.headers["content-type"]) == (200, "application/yaml")
    assert (as_json.status_code, as_json.headers["content-type"]) == (200, "application/json")
    document = json.loads(body(as_json))
    assert yaml.safe_load(body(as_yaml)) == document
    assert document["info"]["version"] == version
    assert body(as_yaml).startswith(b"openapi: 3.0.3\n")
    # No anchors and references, which readers of OpenAPI need not know.
    assert b"&id" not in body(as_yaml)


async def test_the_urls_are_those_that_the_client_sees() -> None:
    forwarded = {
        "x_forwarded_host": "pacs.example",
        "x_forwarded_proto": "https",
        "x_forwarded_prefix": "/imaging",
    }
    for headers, root in (({}, "http://127.0.0.1:7071"), (forwarded, "https://pacs.example/imaging")):
        for answer in (
            await HANDLERS.openapi_yaml(request("v2", **headers)),
            await HANDLERS.openapi_json(request("v2", **headers)),
        ):
            assert yaml.safe_load(body(answer))["servers"] == [{"url": root}]
        answer = await HANDLERS.capabilities(request("v2", accept="application/json", **headers))
        (resources,) = json.loads(body(answer))["application"]["resources"]
        assert resources["base"] == f"{root}/v2"


async def test_a_version_in_capitals_is_described_in_small_letters() -> None:
    document = json.loads(body(await HANDLERS.openapi_json(request("V1.0-PRErelease"))))
    assert "/v1.0-prerelease/studies" in document["paths"]
    assert body(await HANDLERS.openapi_yaml(request("V2"))) == body(await HANDLERS.openapi_yaml(request("v2")))


async def test_the_capabilities_come_in_the_form_that_was_asked_for() -> None:
    for accept, media in (
        ("*/*", "application/vnd.sun.wadl+xml"),
        ("application/json", "application/json"),
        ("text/html, application/xml", "application/xml"),
    ):
        answer = await HANDLERS.capabilities(request("v2", accept=accept))
        assert (answer.status_code, answer.headers["content-type"]) == (200, media)
    assert (await HANDLERS.capabilities(request("v2", "accept=application/json"))).headers["content-type"] == (
        "application/json"
    )
    assert (await answered(HANDLERS.capabilities, request("v2", accept="text/html"))).status_code == 406


async def test_an_unknown_version_is_a_bad_request_before_accept_matters() -> None:
    for answer in (
        await answered(HANDLERS.capabilities, request("v3", accept="text/html")),
        await answered(HANDLERS.openapi_yaml, request("v3")),
        await answered(HANDLERS.openapi_json, request("latest")),
    ):
        assert answer.status_code == 400
        assert answer.headers["api-supported-versions"] == "1.0-prerelease, 1, 2"


def test_what_makes_the_descriptions_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, shared.web.description; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"yaml", "xml.etree.ElementTree", "shared.dicomweb.operations"}
    assert not heavy & set(ran.stdout.split())
