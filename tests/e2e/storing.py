"""What the tests of the store share: files with odd values, requests, and what an answer says."""

import json
from typing import Any

import httpx
import pydicom
import pytest

from tests.builders import instance
from tests.e2e.service import BOUNDARY, DICOM_JSON, Api, value_of

BOTH = pytest.mark.parametrize("version", ["v1", "v2"])
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def uids_of(study: str, number: int = 1) -> dict[str, str]:
    return {"study": study, "series": f"{study}.1", "sop": f"{study}.1.{number}"}


def odd(study: str, number: int = 1, **elements: Any) -> bytes:
    """A file with values that break the rules of their VR."""
    with pydicom.config.disable_value_validation():
        return instance(**{**uids_of(study, number), **elements})


def post(api: Api, body: bytes, content_type: str | None, accept: str = DICOM_JSON, path: str = "") -> httpx.Response:
    headers = {"Accept": accept} | ({"Content-Type": content_type} if content_type else {})
    return api.http.post(f"/studies{path}", content=body, headers=headers)


def items(answer: httpx.Response, tag: str = "00081199") -> list[dict[str, Any]]:
    """The items of ReferencedSOPSequence, or of another sequence."""
    found: list[dict[str, Any]] = json.loads(answer.content)[tag].get("Value", [])
    return found


def comments(item: dict[str, Any]) -> list[str]:
    """The Error Comments of an item."""
    return [value_of(each, "00000902") for each in item.get("00741048", {}).get("Value", [])]


def assert_clean(answer: httpx.Response) -> None:
    """200, and in version 2 an empty FailedAttributesSequence."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == DICOM_JSON
    assert "00081198" not in answer.json()
    for item in items(answer):
        assert "00081196" not in item
        assert item.get("00741048", {"vr": "SQ"}) == {"vr": "SQ"}
