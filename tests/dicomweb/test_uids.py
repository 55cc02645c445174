"""UIDs and frame lists of paths."""

import pytest

from shared.dicomweb.uids import MAX_FRAMES, parse_frame_list, parse_uid
from shared.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("1.2.840.10008.1.2", "1.2.840.10008.1.2"),
        ("1.2.3 ", "1.2.3"),
        ("1.2.3\0", "1.2.3"),
        ("1.2.3 \0 ", "1.2.3"),
        ("1", "1"),
        ("01.002", "01.002"),
        (".1..2", ".1..2"),
        ("1" * 64, "1" * 64),
        ("1" * 64 + "  ", "1" * 64),
    ],
)
def test_a_uid_comes_back_without_padding(text: str, uid: str) -> None:
    assert parse_uid(text, "StudyInstanceUID") == uid


@pytest.mark.parametrize(
    "text",
    ["", " ", "1.2.", ".", "abc", "1.2.a", " 1.2", "1. 2", "1.2\n", "1\0.2", "1" * 65, "\u0661.2", "1.2/3", "1-2"],
)
def test_anything_else_is_refused_without_being_echoed(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse_uid(text, "SeriesInstanceUID")
    assert str(raised.value) == (
        "SeriesInstanceUID in the path is not a UID: 1 to 64 characters 0-9 and '.', the last of them a digit"
    )


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("1", (1,)),
        ("1,2,3", (1, 2, 3)),
        ("3,1,1", (3, 1, 1)),
        ("1, 2 ,3", (1, 2, 3)),
        ("007", (7,)),
        ("2147483647", (2147483647,)),
        (",".join(["1"] * MAX_FRAMES), (1,) * MAX_FRAMES),
    ],
)
def test_frames_come_in_the_order_asked_for(text: str, frames: tuple[int, ...]) -> None:
    assert parse_frame_list(text) == frames


@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "1,0", "-1", "+1", "1,,2", ",1", "1,", "a", "1.0", "1;2", "1_0", "\u0661", "²", "2147483648", "1\n"],
)
def test_what_is_no_list_of_frames_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="positive integers separated by commas"):
        parse_frame_list(text)


@pytest.mark.parametrize("text", [",".join(["1"] * (MAX_FRAMES + 1)), "1" * 1_000_000, "," * 1_000_000])
def test_a_frame_list_is_bounded(text: str) -> None:
    with pytest.raises(BadRequest, match="more than 10000 frames"):
        parse_frame_list(text)
