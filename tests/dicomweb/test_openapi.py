"""The descriptions of the service say what function_app.py, the tables and the standard say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator

from shared.dicom.attributes import SEARCHABLE
from shared.dicomweb import query
from shared.dicomweb.capabilities import FORMS, capabilities, negotiate
from shared.dicomweb.media_types import parse_accept
from shared.dicomweb.negotiation import JSON, OFFERS, Resource
from shared.dicomweb.openapi import description
from shared.dicomweb.operation import WADL, XML, Place, multipart_of
from shared.dicomweb.operations import ANSWER_HEADERS, FAILURES, OPERATIONS
from shared.dicomweb.query import SearchResource
from shared.dicomweb.versions import VERSIONS
from shared.errors import NotAcceptable
from shared.web.problems import STATUS

ROOT = Path(__file__).resolve().parent.parent.parent
BASE = "https://pacs.example/imaging"
NAMESPACE = "{http://wadl.dev.java.net/2009/02}"

#: The one route that is not described: see shared/dicomweb/operations.py.
MISSPELT = "{version}/{study}/series/{series}/metadata"

#: Prints the route and methods of every HTTP function; in a process of its own, because the app is wired by its import.
LIST_ROUTES = """
import json, function_app
triggers = [function.get_trigger().get_dict_repr() for function in function_app.app.get_functions()]
print(json.dumps([[each["route"], [method.value for method in each["methods"]]]
                  for each in triggers if each["type"] == "httpTrigger"]))
"""


@pytest.fixture(scope="module")
def listed() -> list[tuple[str, str]]:
    """Method and route, without its constraints, of every HTTP function."""
    environment = {**os.environ, "DICOM_STORAGE_CONNECTION": "UseDevelopmentStorage=true"}
    ran = subprocess.run(
        [sys.executable, "-c", LIST_ROUTES], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return [
        (method, re.sub(r"\{(\w+):[^/]*\}", r"{\1}", route))
        for route, methods in json.loads(ran.stdout)
        for method in methods
    ]


@pytest.fixture(scope="module")
def routes(listed: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """The same, but for what only answers the preflights of browsers."""
    return {(method, route) for method, route in listed if method != "OPTIONS" or route == "{version}"}


def test_every_route_answers_the_preflights_of_browsers_in_one_function(listed: list[tuple[str, str]]) -> None:
    assert len(set(listed)) == len(listed)
    assert {route for method, route in listed if method == "OPTIONS"} == {route for _, route in listed}


def document(version: str = "v2") -> dict[str, Any]:
    return description(version, BASE, STATUS)


def operations_of(paths: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The operations of an OpenAPI document, by method and path."""
    methods = ("get", "head", "post", "put", "delete", "options")
    return {(name.upper(), path): item[name] for path, item in paths.items() for name in methods if name in item}


# OpenAPI


def test_every_route_and_method_is_described_and_nothing_else(routes: set[tuple[str, str]]) -> None:
    described = {
        (method, path.removeprefix("/").replace("v2", "{version}", 1))
        for method, path in operations_of(document()["paths"])
    }
    assert described == {(method, route) for method, route in routes if route != MISSPELT}
    assert ("GET", MISSPELT) in routes


@pytest.mark.parametrize("version", VERSIONS)
def test_the_document_is_valid_openapi(version: str) -> None:
    OpenAPIV30SpecValidator(document(version)).validate()
    assert document(version)["info"]["version"] == version


def test_paths_hold_the_version_and_servers_what_goes_before_it() -> None:
    made = document("v1")
    assert made["servers"] == [{"url": BASE}]
    assert set(made["paths"]) >= {"/v1", "/v1/studies", "/v1/studies/{study}/metadata", "/health/check"}
    assert not any("v2" in path for path in made["paths"])


def test_every_error_of_the_service_is_described_as_plain_text_with_its_status() -> None:
    made = document()
    assert set(FAILURES) == set(STATUS)
    for error in STATUS:
        assert set(made["components"]["responses"][error.__name__]["content"]) == {"text/plain"}
    for (method, path), operation in operations_of(made["paths"]).items():
        referred = {
            status: answer["$ref"].rpartition("/")[2]
            for status, answer in operation["responses"].items()
            if "$ref" in answer
        }
        assert referred.pop("500") == "Defect"
        assert referred == {
            str(STATUS[error]): error.__name__ for error in STATUS if error.__name__ in referred.values()
        }
        # Any route may be asked for in a version that does not exist, or with a query that is refused.
        assert "400" in referred, (method, path)


def test_every_answer_names_the_versions() -> None:
    made = document()
    answers = [each for operation in operations_of(made["paths"]).values() for each in operation["responses"].values()]
    answers = [each for each in answers if "$ref" not in each] + list(made["components"]["responses"].values())
    assert all("api-supported-versions" in each["headers"] for each in answers)
    assert {name for each in answers for name in each["headers"]} == set(ANSWER_HEADERS)


def test_an_answer_to_head_has_no_body() -> None:
    for (method, _), operation in operations_of(document()["paths"]).items():
        if method == "HEAD":
            assert not any("content" in answer for answer in operation["responses"].values())


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/v2/studies/{study}", Resource.STUDY),
        ("/v2/studies/{study}/series/{series}", Resource.SERIES),
        ("/v2/studies/{study}/series/{series}/instances/{instance}", Resource.INSTANCE),
        ("/v2/studies/{study}/series/{series}/instances/{instance}/frames/{frames}", Resource.FRAMES),
    ],
)
def test_media_types_and_transfer_syntaxes_are_those_of_the_offers(path: str, resource: Resource) -> None:
    content = document()["paths"][path]["get"]["responses"]["200"]["content"]
    assert {media: each.get("x-transfer-syntaxes") for media, each in content.items()} == {
        multipart_of(offer.media) if multipart else offer.media: list(offer.targets)
        for offer in OFFERS[resource]
        for multipart in offer.forms
    }


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/v2/studies", query.STUDIES),
        ("/v2/series", query.ALL_SERIES),
        ("/v2/instances", query.ALL_INSTANCES),
        ("/v2/studies/{study}/series", query.STUDY_SERIES),
        ("/v2/studies/{study}/instances", query.STUDY_INSTANCES),
        ("/v2/studies/{study}/series/{series}/instances", query.SERIES_INSTANCES),
    ],
)
def test_search_parameters_are_the_attributes_of_the_resource(path: str, resource: SearchResource) -> None:
    parameters = {each["name"]: each for each in document()["paths"][path]["get"]["parameters"]}
    reserved = {*query._RESERVED, "TimezoneOffsetFromUTC", "accept"}
    assert set(parameters) - reserved == {
        attribute.keyword for attribute in SEARCHABLE if attribute.level in resource.attributes_of
    }
    assert reserved < set(parameters)
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 100}
    for attribute in SEARCHABLE:
        if attribute.keyword in parameters:
            tags = ".".join(f"({tag[:4]},{tag[4:]})" for tag in attribute.path)
            assert f"{tags} {attribute.vr}" in parameters[attribute.keyword]["description"]


def test_a_store_says_what_it_takes() -> None:
    post = document()["paths"]["/v2/studies"]["post"]
    assert {'multipart/related; type="application/dicom"', "application/dicom"} <= set(post["requestBody"]["content"])
    assert set(post["responses"]) >= {"200", "202", "204", "400", "406", "409", "413", "415", "500", "503"}


# Capabilities


def wadl() -> ElementTree.Element:
    return ElementTree.fromstring(capabilities(f"{BASE}/v2", STATUS, WADL))


def tree(resource: ElementTree.Element, path: str) -> dict[tuple[str, str], ElementTree.Element]:
    """The methods below a resource, by name and path."""
    found = {(each.attrib["name"], path): each for each in resource.findall(f"{NAMESPACE}method")}
    for child in resource.findall(f"{NAMESPACE}resource"):
        found |= tree(child, f"{path}/{child.attrib['path']}")
    return found


def test_the_capabilities_have_one_application_with_one_tree_of_resources_below_the_base_url() -> None:
    root = wadl()
    assert root.tag == f"{NAMESPACE}application"
    (resources,) = root.findall(f"{NAMESPACE}resources")
    assert resources.attrib["base"] == f"{BASE}/v2"
    assert set(tree(resources, "{version}")) == {
        (method, each.path) for each in OPERATIONS for method in each.methods if each.path.startswith("{version}/")
    }


def test_every_method_has_an_identifier_of_its_own_and_says_what_accept_may_be() -> None:
    (resources,) = wadl().findall(f"{NAMESPACE}resources")
    methods = tree(resources, "")
    identifiers = [each.attrib["id"] for each in methods.values()]
    assert len(set(identifiers)) == len(identifiers)
    assert {"RetrieveStudy", "SearchForStudies", "StoreInstances"} <= set(identifiers)
    accept = methods["GET", "/studies/{study}"].find(f"{NAMESPACE}request/{NAMESPACE}param[@name='Accept']")
    assert accept is not None
    options = [each.attrib["value"] for each in accept]
    assert accept.attrib["default"] == options[0] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    (offer, *_) = OFFERS[Resource.STUDY]
    assert {f"{multipart_of(offer.media)}; transfer-syntax={syntax}" for syntax in offer.targets} <= set(options)


#: Order of the children of each element, and the attributes it may have (the schema of WADL, 2009-02).
SCHEMA = {
    "application": (("doc", "resources"), set[str]()),
    "resources": (("doc", "resource"), {"base"}),
    "resource": (("doc", "param", "method resource"), {"path"}),
    "method": (("doc", "request", "response"), {"name", "id"}),
    "request": (("doc", "param", "representation"), set[str]()),
    "response": (("doc", "param", "representation"), {"status"}),
    "representation": (("doc", "param"), {"mediaType"}),
    "param": (("doc", "option"), {"name", "style", "type", "default", "required", "repeating"}),
    "option": (("doc",), {"value"}),
    "doc": ((), {"title"}),
}


def test_the_capabilities_keep_to_the_schema_of_wadl() -> None:
    for element in wadl().iter():
        groups, attributes = SCHEMA[element.tag.removeprefix(NAMESPACE)]
        names = [child.tag.removeprefix(NAMESPACE) for child in element]
        positions = [next(at for at, group in enumerate(groups) if name in group.split()) for name in names]
        assert positions == sorted(positions)
        assert set(element.attrib) <= attributes
        for status in element.attrib.get("status", "").split():
            assert 100 <= int(status) < 600


def test_the_json_form_holds_what_the_xml_form_holds() -> None:
    def members(element: ElementTree.Element) -> dict[str, Any]:
        found: dict[str, Any] = dict(element.attrib)
        for child in element:
            found.setdefault(child.tag.removeprefix(NAMESPACE), []).append(members(child))
        return found

    assert json.loads(capabilities(f"{BASE}/v2", STATUS, JSON)) == {"application": members(wadl())}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ((), WADL),
        (("*/*",), WADL),
        (("application/*",), WADL),
        ((WADL,), WADL),
        (("application/json",), JSON),
        (("application/json;q=0.1, application/vnd.sun.wadl+xml;q=0.2",), WADL),
        (("application/json", WADL), JSON),
        (("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",), XML),
    ],
)
def test_accept_chooses_the_form_of_the_capabilities(accept: tuple[str, ...], form: str) -> None:
    assert negotiate(parse_accept(accept)) == form
    assert form in FORMS


@pytest.mark.parametrize("accept", ["text/html", "application/dicom+json", "application/json;q=0", "multipart/related"])
def test_other_forms_of_the_capabilities_are_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=re.escape(WADL)):
        negotiate(parse_accept([accept]))


# The table


def test_parameters_of_the_table_are_told_apart_by_name() -> None:
    for operation in OPERATIONS:
        names = [each.name for each in operation.parameters]
        assert len(set(names)) == len(names)
        assert all(each.place is not Place.PATH for each in operation.parameters)
