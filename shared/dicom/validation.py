"""What no instance is stored without, and the strict rules of the original service.

The strict validators look at the first value of a few attributes: version 1 at all those the index knows, version 2 at
the required ones. Rules and wording are the original's. What follows from a finding (rejecting the instance, or
dropping the attribute with a warning) differs between the versions and is decided by the caller (services/judging.py);
what version 2 says of every other value is in full_validation.py.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.dicom.attributes import (
    ORIGINALLY_INDEXED,
    PATIENT_ID,
    SEARCHABLE,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    keyword_of,
)
from shared.dicom.matching import strip_padding, values_of
from shared.model import JsonDataSet

#: Attributes no instance is stored without (PS3.10 §7.1 and the original service's rule for PatientID).
REQUIRED = (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID, SOP_CLASS_UID, PATIENT_ID)

_UID_VALUE = re.compile(r"[0-9.]*[0-9]")
_CONTROL = re.compile(r"[\x00-\x1a\x1c-\x1f\x7f]")  # all but ESC, which begins an escape sequence (PS3.5 §6.1.2.5)
_INVALID_CHARACTER = "Value contains invalid character."


@dataclass(frozen=True, slots=True)
class Finding:
    """One attribute that breaks a rule. `message` is for the client: it may quote the value, so it goes into no log."""

    tag: str
    message: str


def missing(data_set: JsonDataSet) -> list[str]:
    """Those required attributes, as tags, that are absent or have no value or, for UIDs, several."""
    return [
        tag
        for tag in REQUIRED
        if not any(map(strip_padding, values := values_of(data_set, tag)))
        or (len(values) > 1 and data_set[tag].get("vr") == "UI")
    ]


#: Attributes that version 1 checks, and their VRs: those the original service indexes, and SOPClassUID.
INDEXED = {each.tag: each.vr for each in SEARCHABLE if each.tag in ORIGINALLY_INDEXED} | {SOP_CLASS_UID: "UI"}


def findings(data_set: JsonDataSet, tags: Iterable[str] = INDEXED, *, trailing_nuls_count: bool) -> list[Finding]:
    """Those of some indexed attributes whose VR is another than their own, or whose first value breaks its rules.

    `trailing_nuls_count`: whether NULs that pad a value are part of it (v1) or not (v2).
    """
    result: list[Finding] = []
    for tag in tags:
        vr = INDEXED[tag]
        reason = None
        if (found := data_set.get(tag, {}).get("vr", vr)) != vr:
            reason = f"The element is expected to have VR '{vr}' but has VR '{found}'."
        else:
            for value in values_of(data_set, tag)[:1]:
                text = value if trailing_nuls_count and vr != "UI" else value.rstrip("\0")
                reason = next(_broken_rules(vr, text), None)
        if reason is not None:
            message = f"Dicom element '{keyword_of(tag)}' failed validation for VR '{vr}': {reason}"
            result.append(Finding(tag, message))
    return result


def has_several_values(data_set: JsonDataSet) -> bool:
    """Whether an indexed attribute has more than one value, of which only the first is indexed."""
    return any(len(data_set.get(tag, {}).get("Value", ())) > 1 for tag in INDEXED)


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
