"""Which bytes a Range header asks for (RFC 9110 §14)."""

import pytest

from shared.dicomweb.ranges import requested_range
from shared.errors import RangeNotSatisfiable

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1, "bytes 0-0/100")),
        ("bytes=0-99", (0, 100, "bytes 0-99/100")),
        ("bytes=10-19", (10, 10, "bytes 10-19/100")),
        ("bytes=10-", (10, 90, "bytes 10-99/100")),
        ("bytes=10-100000", (10, 90, "bytes 10-99/100")),
        ("bytes=-1", (99, 1, "bytes 99-99/100")),
        ("bytes=-1000", (0, 100, "bytes 0-99/100")),
        ("Bytes= 1-2 ", (1, 2, "bytes 1-2/100")),
    ],
)
def test_a_range_is_cut_to_what_there_is(header: str, expected: tuple[int, int, str]) -> None:
    found = requested_range(header, None, TAG, 100)
    assert found is not None
    assert (found.start, found.count, found.content_range) == expected


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes=1" * 30],
)
def test_what_is_no_single_range_asks_for_everything(header: str | None) -> None:
    assert requested_range(header, None, TAG, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        requested_range(header, None, TAG, 100)
    assert raised.value.length == 100


def test_no_byte_of_nothing_is_in_any_range() -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_range("bytes=0-", None, TAG, 0)


def test_a_range_of_another_representation_asks_for_everything() -> None:
    assert requested_range("bytes=0-0", '"other"', TAG, 100) is None
    assert requested_range("bytes=0-0", "Mon, 23 Nov 2026 06:00:00 GMT", TAG, 100) is None
    assert requested_range("bytes=0-0", TAG, TAG, 100) is not None
