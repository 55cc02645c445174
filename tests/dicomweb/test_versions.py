"""The version segment of paths."""

import pytest

from shared.dicomweb.versions import SUPPORTED_VERSIONS, V1, V2, ApiVersion, parse_version
from shared.errors import BadRequest


@pytest.mark.parametrize(
    ("segment", "version"), [("v1", V1), ("v2", V2), ("V2", V2), ("v1.0-prerelease", V1), ("v1.0-Prerelease", V1)]
)
def test_a_known_version_is_recognised(segment: str, version: ApiVersion) -> None:
    assert parse_version(segment) is version


@pytest.mark.parametrize("segment", ["v3", "v", "", "2", "v2.1", "v1.0", "studies", "v2 ", "vv2", "v²"])
def test_an_unknown_version_is_refused_with_those_there_are(segment: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse_version(segment)
    message = "the API version in the path is not supported; supported: v1.0-prerelease, v1, v2"
    assert str(raised.value) == message


def test_the_supported_versions_can_be_told_in_a_header() -> None:
    assert SUPPORTED_VERSIONS == "1.0-prerelease, 1, 2"


def test_the_versions_differ_in_how_they_treat_invalid_attributes() -> None:
    assert (V1.number, V1.lenient_validation, V1.warnings_are_202, V1.lists_failed_attributes) == (
        1,
        False,
        False,
        False,
    )
    assert (V2.number, V2.lenient_validation, V2.warnings_are_202, V2.lists_failed_attributes) == (2, True, True, True)
