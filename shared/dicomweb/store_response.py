"""The answer to a store request: reason codes, the Store Instances Response Module and the status (PS3.18 §10.5.3).

Decides, from how each instance ended:

| outcomes               | status                                               |
|------------------------|------------------------------------------------------|
| none                   | 204, no body                                         |
| all stored             | 200; from v2 on 202 if any of them drew a warning    |
| some stored            | 202                                                  |
| none stored            | 409                                                  |

Facts. A success item of v2 always holds FailedAttributesSequence, an empty one when nothing is wrong; in v1 it never
does. A failure item holds it when there is something to say. UIDs are given as the file has them, valid or not, and
left out where they could not be read. Deviation: PS3.18 Table 10.5.3-1 has 200 only where nothing drew a warning; v1
answers 200, as the original service does.

The comments quote values. They go to the client who sent those, and nowhere else. Deviation: PS3.5 §6.2 gives an LO
64 characters; Error Comment has as many as it takes, as in the original service.

Left out: which rules an instance breaks (dicom/validation.py) and which outcome follows (services/judging.py). The
original's reason 45071, an instance another request is storing at the moment, cannot come about: the later commit finds
the instance stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

from shared.dicom.validation import Finding
from shared.dicomweb.versions import ApiVersion

#: One data set, or one item of a sequence, in the DICOM JSON model (PS3.18 §F.2.2).
type JsonItem = dict[str, dict[str, Any]]


class _Reason(IntEnum):
    """A code that a response item carries, and the sentence that says what it means."""

    sentence: str

    def __new__(cls, code: int, sentence: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member


class FailureReason(_Reason):
    """Failure Reason (0008,1197): why an instance was not stored (PS3.18 Table I.2-2, PS3.4 Table B.2-1)."""

    PROCESSING_FAILURE = 0x0110, "The service failed while it processed the instance; sending it again may help."
    CANNOT_UNDERSTAND = 0xA900, "The instance cannot be read, breaks a rule, or is of another study than the URL says."
    ALREADY_EXISTS = 0xB00E, "An instance with the same study, series and instance UID is stored already."


class WarningReason(_Reason):
    """Warning Reason (0008,1196): what is odd about an instance that was stored (PS3.18 Table I.2-1)."""

    INDEXED_WITHOUT_INVALID_ATTRIBUTES = 0x0001, "Attributes that break a rule are missing from metadata and search."
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = (
        0xB007,
        "The data set does not match its SOP Class: it is in Implicit VR, or its file is cut short.",
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that was stored. `retrieve_url` is absolute; `comments` say what a warning is about."""

    sop_class: str
    sop_instance: str
    retrieve_url: str
    warning: WarningReason | None = None
    comments: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """An instance that was not stored; its UIDs are None where they could not be read."""

    sop_class: str | None
    sop_instance: str | None
    reason: FailureReason
    comments: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """Status and DICOM JSON object of the answer; `body` is None when the answer has none."""

    status: int
    body: JsonItem | None


def store_response(
    version: ApiVersion, outcomes: Sequence[Stored | Failed], study_url: str | None = None
) -> StoreResponse:
    """The answer to a store with these outcomes, in their order.

    `study_url` is the URL of the study that the request's own URL names, None when it names none.
    """
    stored = [each for each in outcomes if isinstance(each, Stored)]
    failed = [each for each in outcomes if isinstance(each, Failed)]
    if not outcomes:
        return StoreResponse(204, None)
    body: JsonItem = {}
    if study_url is not None and stored:
        body["00081190"] = _element("UR", study_url)  # Retrieve URL
    if failed:
        body["00081198"] = _element("SQ", *map(_failed_item, failed))  # Failed SOP Sequence
    if stored:
        body["00081199"] = _element("SQ", *(_stored_item(each, version) for each in stored))  # Referenced SOP Sequence
    return StoreResponse(_status(version, stored, failed), body)


def several_values_warning(host: str) -> str:
    """The Warning header (RFC 7234 §5.5) of a store of which some indexed attribute has several values.

    With a colon behind the host, as the original service writes it.
    """
    return f'299 {host}: "One or more indexed Dicom tag(s) have multiple values, only first value is indexed."'


def _status(version: ApiVersion, stored: Sequence[Stored], failed: Sequence[Failed]) -> int:
    if not stored:
        return 409
    warned = version.warnings_are_202 and any(each.warning is not None for each in stored)
    return 202 if failed or warned else 200


def _failed_item(outcome: Failed) -> JsonItem:
    item = _references(outcome)
    item["00081197"] = _element("US", int(outcome.reason))  # Failure Reason
    if outcome.comments:
        item["00741048"] = _failed_attributes(outcome.comments)
    return item


def _stored_item(outcome: Stored, version: ApiVersion) -> JsonItem:
    item = _references(outcome)
    item["00081190"] = _element("UR", outcome.retrieve_url)  # Retrieve URL
    if outcome.warning is not None:
        item["00081196"] = _element("US", int(outcome.warning))  # Warning Reason
    if version.lists_failed_attributes:
        item["00741048"] = _failed_attributes(outcome.comments)
    return item


def _references(outcome: Stored | Failed) -> JsonItem:
    """Referenced SOP Class UID and Referenced SOP Instance UID, as far as they are known."""
    uids = {"00081150": outcome.sop_class, "00081155": outcome.sop_instance}
    return {tag: _element("UI", uid) for tag, uid in uids.items() if uid is not None}


def _failed_attributes(comments: Sequence[Finding]) -> dict[str, Any]:
    """Failed Attributes Sequence: an item with an Error Comment for the first finding about each attribute."""
    first: dict[str, Finding] = {}
    for each in comments:
        first.setdefault(each.tag, each)
    return _element("SQ", *({"00000902": _element("LO", _comment(each))} for each in first.values()))


def _comment(finding: Finding) -> str:
    """The text of one comment; 100 is the only number the original service knows."""
    return f"DICOM100: ({finding.tag[:4].lower()},{finding.tag[4:].lower()}) - {finding.message}"


def _element(vr: str, *values: object) -> dict[str, Any]:
    """One attribute of the DICOM JSON model; one without values has no `Value` (PS3.18 §F.2.5)."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}
