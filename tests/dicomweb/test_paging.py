"""Cursors: what is made is understood again, and nothing else is."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicomweb.paging import position_of, token_of
from shared.errors import BadRequest
from shared.model import Level, Position

LATEST = 16**13 - 1
LONGEST = "1." + "2" * 62


@pytest.mark.parametrize(
    ("level", "position"),
    [
        (Level.STUDY, Position("", (7, "1.2"))),
        (Level.STUDY, Position("79799899", (7, "1.2"))),
        (Level.SERIES, Position("", (7, "1.2"), (8, "1.2.3"))),
        (Level.INSTANCE, Position("", (7, "1.2"), (8, "1.2.3"), (9, "1.2.3.4"))),
        (Level.INSTANCE, Position("9" * 8, (LATEST, LONGEST), (LATEST, LONGEST), (LATEST, LONGEST))),
    ],
)
def test_a_token_is_understood_again_and_fits_into_a_url(level: Level, position: Position) -> None:
    token = token_of(position)
    assert position_of(token, level) == position
    assert token.isascii() and token.replace("-", "").replace("_", "").isalnum()
    for other in Level:
        if other is not level:
            with pytest.raises(BadRequest, match="cursor"):
                position_of(token, other)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "=" * 8,
        "!" * 8,
        "A" * 100_000,
        encoded(""),
        encoded("!7"),
        encoded("!7!1.2!"),
        encoded("!7!1.2!8!1.3"),
        encoded("!-7!1.2"),
        encoded("!G!1.2"),
        encoded("!" + "f" * 14 + "!1.2"),
        encoded("!7!"),
        encoded("!7!x"),
        encoded("!7!1.2 "),
        encoded("!7!1.2' or 1 eq 1"),
        encoded("2020!7!1.2"),
        encoded("２０２００１０１!7!1.2"),
        "é",
    ],
)
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(BadRequest, match="cursor is none that this service gave"):
        position_of(token, Level.STUDY)


@given(st.one_of(st.text(max_size=60), st.text(alphabet="!0123456789abcdef.", max_size=60).map(encoded)))
def test_whatever_comes_is_a_position_or_a_bad_request(token: str) -> None:
    try:
        position = position_of(token, Level.STUDY)
    except BadRequest:
        return
    assert 0 <= position.study[0] <= LATEST
    assert position_of(token_of(position), Level.STUDY) == position
