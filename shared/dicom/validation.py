"""Which values keep an instance from being stored, or one of its attributes from being indexed.

The rules and their wording are those of the original service's strict validators; only the attributes it indexes are
looked at, and of those only the first value. What follows from a finding (rejecting the instance, or dropping the
attribute with a warning) differs between v1 and v2 and is decided by the caller.
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.dicom.attributes import (
    COMPUTED,
    PATIENT_ID,
    SEARCHABLE,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    keyword_of,
)
from shared.dicom.matching import values_of
from shared.model import JsonDataSet

#: Attributes no instance is stored without (PS3.10 §7.1 and the original service's rule for PatientID).
REQUIRED = (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID, SOP_CLASS_UID, PATIENT_ID)

_UID_VALUE = re.compile(r"[0-9.]*[0-9]")
_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f\x7f]")  # all but ESC, which begins an escape sequence (PS3.5 §6.1.2.5)
_INVALID_CHARACTER = "Value contains invalid character."


@dataclass(frozen=True, slots=True)
class Finding:
    """One attribute that breaks a rule; `message` never holds the value."""

    tag: str
    message: str


def missing(data_set: JsonDataSet) -> list[str]:
    """Those required attributes, as tags, that are absent or have no value or, for UIDs, several."""
    return [
        tag
        for tag in REQUIRED
        if not (values := values_of(data_set, tag)) or (len(values) > 1 and data_set[tag].get("vr") == "UI")
    ]


def findings(data_set: JsonDataSet, *, trailing_nuls_count: bool) -> list[Finding]:
    """The indexed and required attributes whose value breaks the rule of their VR.

    `trailing_nuls_count`: whether NULs that pad a value are part of it (v1) or not (v2).
    """
    result: list[Finding] = []
    checked = {attribute.tag: attribute.vr for attribute in SEARCHABLE if attribute.tag not in COMPUTED}
    for tag, vr in {**checked, SOP_CLASS_UID: "UI"}.items():
        for value in values_of(data_set, tag)[:1]:
            text = value if trailing_nuls_count and vr != "UI" else value.rstrip("\0")
            for reason in _broken_rules(vr, text):
                message = f"Dicom element '{keyword_of(tag)}' failed validation for VR '{vr}': {reason}"
                result.append(Finding(tag, message))
                break
    return result


def is_uid(value: str) -> bool:
    """Whether a value, without trailing spaces, passes as a UID: up to 64 digits and dots that end in a digit.

    Deviation: PS3.5 §9.1 also forbids leading zeros and empty components; real files have both.
    """
    text = value.rstrip(" ")
    return len(text) <= 64 and _UID_VALUE.fullmatch(text) is not None


def _broken_rules(vr: str, value: str) -> Iterator[str]:
    match vr:
        case "UI":
            if not is_uid(value):
                yield (
                    "Value is not a UID: it must have at most 64 characters, all of them 0 to 9 or '.', "
                    "in components that do not start with zero."
                )
        case "DA":
            if not _is_date(value):
                yield "Value cannot be parsed as a valid date."
        case "SH" | "CS" | "AE":
            if len(value) > 16:
                yield "Value length exceeds maximum length of 16."
        case "LO":
            if len(value) > 64:
                yield "Value length exceeds maximum length of 64."
            if "\\" in value or _CONTROL.search(value):
                yield _INVALID_CHARACTER
        case "PN":
            groups = value.split("=")
            if len(groups) > 3:
                yield "Value contains more than 3 groups."
            if any(len(group) > 64 for group in groups):
                yield "One or more group of person name exceeds maxium length of 64."  # spelt as the original spells it
            if any(group.count("^") > 4 for group in groups):
                yield "Value contains more than 5 components."
            if _CONTROL.search(value):
                yield _INVALID_CHARACTER


def _is_date(value: str) -> bool:
    if not re.fullmatch(r"[0-9]{8}", value):
        return False
    try:
        datetime.datetime.strptime(value, "%Y%m%d")
    except ValueError:
        return False
    return True
