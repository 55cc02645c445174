"""The versions of the service's API and everything they differ in.

Decides what the first segment of a path means. The prerelease answers as version 1 does. A path without a version is no
route at all, which is for the caller to say.
"""

from dataclasses import dataclass

from shared.errors import BadRequest


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """One version and its behaviours.

    `lenient_validation`: every value is looked at, and an invalid one is left out of metadata and index with a warning;
    otherwise only indexed attributes are, and an invalid one fails its instance.
    `warnings_are_202`: a store in which any instance drew a warning answers 202 instead of 200.
    `lists_failed_attributes`: every stored instance comes with FailedAttributesSequence, empty when it is clean.
    """

    number: int
    lenient_validation: bool
    warnings_are_202: bool
    lists_failed_attributes: bool


V1 = ApiVersion(1, lenient_validation=False, warnings_are_202=False, lists_failed_attributes=False)
V2 = ApiVersion(2, lenient_validation=True, warnings_are_202=True, lists_failed_attributes=True)

#: Path segment, in lower case, to version.
VERSIONS: dict[str, ApiVersion] = {"v1.0-prerelease": V1, "v1": V1, "v2": V2}

#: The value of the header `api-supported-versions`.
SUPPORTED_VERSIONS = ", ".join(segment.removeprefix("v") for segment in VERSIONS)


def parse_version(segment: str) -> ApiVersion:
    """The version a path segment such as `v2` names, in any case. Raises BadRequest for one the service lacks."""
    version = VERSIONS.get(segment.lower())
    if version is None:
        raise BadRequest(f"the API version in the path is not supported; supported: {', '.join(VERSIONS)}")
    return version
