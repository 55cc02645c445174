"""What pages of which origins may do and see."""

import pytest
from starlette.responses import Response

from shared.web.cors import EXPOSED, Cors, is_preflight
from tests.web.requests import asked

HERE, ALSO, ELSEWHERE = "http://localhost:3000", "https://viewer.example.org", "http://elsewhere.example.org"
LISTED = Cors(f"{HERE}, {ALSO}/ ", 600)
ANYONE = Cors("*", 600)
NOBODY = Cors("", 600)


def preflight(cors: Cors, origin: str, method: str = "GET", headers: str = "") -> Response:
    said = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        said["Access-Control-Request-Headers"] = headers
    request = asked(headers=said, method="OPTIONS")
    assert is_preflight(request)
    return cors.preflight(request)


def granted(answer: Response) -> dict[str, str]:
    """The headers that a browser's decision rests on."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Origin": HERE, "Access-Control-Request-Method": "GET"}),
        ("OPTIONS", {"Origin": HERE}),
        ("OPTIONS", {"Access-Control-Request-Method": "GET"}),
        ("OPTIONS", {}),
    ],
)
def test_other_requests_are_no_preflights(method: str, headers: dict[str, str]) -> None:
    assert not is_preflight(asked(headers=headers, method=method))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("origin", [HERE, ALSO, ALSO.upper()])
def test_a_preflight_of_a_listed_origin_is_granted_what_it_asks_for(origin: str, method: str) -> None:
    answer = preflight(LISTED, origin, method, "authorization,accept")
    assert (answer.status_code, answer.body) == (204, b"")
    assert granted(answer) == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": method,
        "access-control-allow-headers": "authorization,accept",
        "access-control-max-age": "600",
    }
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin", [ELSEWHERE, "null", HERE + "1", "https://localhost:3000", "", f"{HERE}.evil.example"]
)
def test_another_origin_is_granted_nothing(origin: str) -> None:
    answer = preflight(LISTED, origin)
    assert (answer.status_code, granted(answer)) == (204, {})
    assert LISTED.headers(asked(headers={"Origin": origin})) == {"vary": "Origin"}


def test_an_answer_may_be_read_with_the_headers_that_viewers_need() -> None:
    assert LISTED.headers(asked(headers={"Origin": ALSO})) == {
        "vary": "Origin",
        "access-control-allow-origin": ALSO,
        "access-control-expose-headers": ", ".join(EXPOSED),
    }
    needed = {"ETag", "Content-Range", "Accept-Ranges", "Warning", "Link", "X-Total-Count", "WWW-Authenticate"}
    assert needed <= set(EXPOSED)


def test_every_origin_may_be_trusted() -> None:
    assert granted(preflight(ANYONE, ELSEWHERE, "DELETE")) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "DELETE",
        "access-control-max-age": "600",
    }
    headers = ANYONE.headers(asked(headers={"Origin": "null"}))
    assert headers["access-control-allow-origin"] == "*"
    assert "vary" not in headers
    assert ANYONE.headers(asked()) == {}


def test_without_the_setting_nobody_is_trusted() -> None:
    answer = preflight(NOBODY, HERE)
    assert (answer.status_code, granted(answer)) == (204, {})
    assert NOBODY.headers(asked(headers={"Origin": HERE})) == {}


def test_a_listed_origin_makes_every_answer_depend_on_the_origin() -> None:
    assert LISTED.headers(asked()) == {"vary": "Origin"}
