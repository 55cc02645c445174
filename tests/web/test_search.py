"""The query of the next page: as the client wrote this one's, and nothing that ends the URL it is part of."""

import re

import pytest

from shared.web.search import next_query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "cursor=t"),
        ("limit=2&offset=4", "limit=2&cursor=t"),
        ("Limit=2&OFFSET=4&Cursor=old&%63ursor=older", "Limit=2&cursor=t"),
        (
            "accept=application/dicom+json&PatientName=A+B%20C",
            "accept=application/dicom+json&PatientName=A+B%20C&cursor=t",
        ),
        ("PatientName=%C3%A9*&&StudyDate=-20200101", "PatientName=%C3%A9*&StudyDate=-20200101&cursor=t"),
    ],
)
def test_what_was_asked_for_is_asked_for_again(query: str, expected: str) -> None:
    assert next_query(query, "t") == expected


@pytest.mark.parametrize("smuggled", ['a=">', "a=\xe9", "a=b c", "a=\r\nX: y", "a=\x00", "a=<script>", "a={}|^`\\"])
def test_what_may_not_stand_in_a_url_is_escaped(smuggled: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9=%&/:-]+", next_query(smuggled, "t/+>"))
