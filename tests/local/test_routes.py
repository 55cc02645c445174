"""Which route answers a path and a method."""

import pytest

from local.routes import RouteTable, parse_route
from local.settings import LocalError


def table(*templates: str, methods: tuple[str, ...] = ("GET",)) -> RouteTable:
    return RouteTable(parse_route(template, template, methods) for template in templates)


@pytest.mark.parametrize(
    ("path", "template", "parameters"),
    [
        (b"/studies", "studies", {}),
        (b"/studies/", "studies", {}),
        (b"/STUDIES", "studies", {}),
        (b"/studies/1.2", "studies/{study}", {"study": "1.2"}),
        (b"/studies/metadata", "studies/metadata", {}),
        (b"/studies/a%20b%2Fc", "studies/{study}", {"study": "a b%2Fc"}),
        (b"/v2/studies", r"{version:regex(^v\d$)}/studies", {"version": "v2"}),
        (b"/v22/studies", "{*rest}", {"rest": "v22/studies"}),
        (b"/", "{*rest}", {"rest": ""}),
        (b"/series/7", "series/{number:int}", {"number": "7"}),
        (b"/series/seven", "series/{name?}", {"name": "seven"}),
        (b"/series", "series/{name?}", {}),
    ],
)
def test_the_most_specific_route_answers(path: bytes, template: str, parameters: dict[str, str]) -> None:
    routes = table(
        "{*rest}",
        "studies/{study}",
        "studies/metadata",
        "studies",
        r"{version:regex(^v\d$)}/studies",
        "series/{name?}",
        "series/{number:int}",
    )
    assert routes.find("GET", path) == (template, parameters)


def test_no_route_fits_a_longer_path_an_empty_parameter_or_another_method() -> None:
    routes = table("studies/{study}")
    assert routes.find("GET", b"/studies/1/2") is None
    assert routes.find("GET", b"/studies//") is None
    assert routes.find("POST", b"/studies/1") is None


def test_a_less_specific_route_answers_a_method_that_the_first_lacks() -> None:
    routes = RouteTable([parse_route("post", "{any}", ["POST"]), parse_route("get", "studies", ["GET"])])
    assert routes.find("POST", b"/studies") == ("post", {"any": "studies"})


def test_braces_of_an_expression_are_written_twice_and_may_hold_colons_and_groups() -> None:
    routes = table(r"{v:regex(^(?:v|w)\d{{1,2}}:(x)$)}/a")
    assert routes.find("GET", b"/w12:x/a") is not None
    assert routes.find("GET", b"/w123:x/a") is None


def test_the_prefix_of_host_json_goes_before_the_template() -> None:
    assert RouteTable([parse_route("f", "a", None, "api")]).find("PATCH", b"/api/a") == ("f", {})


@pytest.mark.parametrize(
    "template", ["a{b}", "{a}-{b}", "{a:unknown}", "{a:regex([)}", "{*a}/b", "{a?}/b", "{a=b}", "{}"]
)
def test_a_template_that_cannot_be_matched_is_refused(template: str) -> None:
    with pytest.raises(LocalError, match="oute"):
        parse_route("f", template, None)
