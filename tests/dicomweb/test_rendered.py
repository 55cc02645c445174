"""What the parameters of a rendered image may be, and as what it can be had."""

import pytest

from shared.dicom.rendering import Viewport, Window
from shared.dicomweb.media_types import parse_accept
from shared.dicomweb.rendered import MAX_VIEWPORT, RENDERED_MEDIA, negotiate_rendered, parse_rendering
from shared.errors import BadRequest, NotAcceptable

JPEG, PNG, WEBP, GIF = RENDERED_MEDIA


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JPEG),
        ("*/*", JPEG),
        ("image/*", JPEG),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("image/jpeg, image/png", JPEG),
        ("image/png, image/jpeg", PNG),
        ("image/jpeg;q=0.5, image/png", PNG),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", WEBP),
        ("text/html, */*;q=0.1", JPEG),
        ("image/jpeg;q=0, image/*", PNG),
        ("image/gif", GIF),
    ],
)
def test_the_best_media_type_is_chosen(accept: str, expected: str) -> None:
    assert negotiate_rendered(parse_accept([accept])) == expected


@pytest.mark.parametrize(
    "accept", ["image/tiff", "application/dicom", "multipart/related; type=image/jpeg", "nonsense", "*/*;q=0"]
)
def test_other_media_types_are_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="on offer: image/jpeg, image/png"):
        negotiate_rendered(parse_accept([accept]))


def test_nothing_asked_is_the_whole_image_at_its_best() -> None:
    rendering = parse_rendering([("unknown", "1"), ("annotation", "patient")], thumbnail=False)
    assert (rendering.media, rendering.quality, rendering.viewport, rendering.window) == (JPEG, 100, None, None)


def test_a_thumbnail_is_small_unless_asked_otherwise() -> None:
    small = parse_rendering([], thumbnail=True)
    assert small.viewport is not None
    assert small.viewport.width == small.viewport.height <= 512
    asked = parse_rendering([("viewport", "64,32"), ("quality", "7")], thumbnail=True)
    assert (asked.viewport, asked.quality) == (Viewport(64, 32), 7)


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("100", 100), (" 50 ", 50)])
def test_quality(text: str, expected: int) -> None:
    assert parse_rendering([("quality", text)], thumbnail=False).quality == expected


@pytest.mark.parametrize("text", ["0", "101", "-1", "1.5", "", "high", "1e2", "9" * 30, "٥"])
def test_a_quality_that_is_none(text: str) -> None:
    with pytest.raises(BadRequest, match="between 1 and 100 inclusive"):
        parse_rendering([("quality", text)], thumbnail=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512,256", Viewport(512, 256)),
        ("512, 256", Viewport(512, 256)),
        ("512,256,,,,", Viewport(512, 256)),
        ("512,256,10,20.5,,", Viewport(512, 256, 10, 20.5)),
        ("512,256,,,100,200", Viewport(512, 256, 0, 0, 100, 200)),
        ("512,256,1,2,-100,200", Viewport(512, 256, 1, 2, 100, 200, flip_horizontal=True)),
        ("512,256,1,2,100,-2e2", Viewport(512, 256, 1, 2, 100, 200, flip_vertical=True)),
    ],
)
def test_viewport(text: str, expected: Viewport) -> None:
    assert parse_rendering([("viewport", text)], thumbnail=False).viewport == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "512",
        "0,10",
        "-5,10",
        "10.5,10",
        f"{MAX_VIEWPORT + 1},1",
        "1,2,3",
        "1,2,3,4,5",
        "1,2,3,4,5,6,7",
        "10,10,-1,0,,",
        "10,10,0,0,0,5",
        "10,10,a,0,5,5",
        "10,10,nan,0,5,5",
        "10,10,0,0,inf,5",
        "9" * 5000 + ",1",
    ],
)
def test_a_viewport_that_is_none(text: str) -> None:
    with pytest.raises(BadRequest, match="viewport"):
        parse_rendering([("viewport", text)], thumbnail=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40,400", Window(40, 400, "LINEAR")),
        ("40,400,linear", Window(40, 400, "LINEAR")),
        ("-40.5,0.5,linear-exact", Window(-40.5, 0.5, "LINEAR_EXACT")),
        ("1e3, 2e3, SIGMOID", Window(1000, 2000, "SIGMOID")),
    ],
)
def test_window(text: str, expected: Window) -> None:
    assert parse_rendering([("window", text)], thumbnail=False).window == expected


@pytest.mark.parametrize(
    "text",
    ["", "40", "40,", "40,0", "40,0.5,linear", "40,-1,sigmoid", "a,b", "nan,1", "1,inf", "1,2,3", "1,2,linear,4"],
)
def test_a_window_that_is_none(text: str) -> None:
    with pytest.raises(BadRequest, match="window"):
        parse_rendering([("window", text)], thumbnail=False)


@pytest.mark.parametrize("name", ["quality", "viewport", "window"])
def test_a_parameter_twice_is_one_too_many(name: str) -> None:
    with pytest.raises(BadRequest, match="more than once"):
        parse_rendering([(name, "1,2"), (name, "1,2")], thumbnail=False)
