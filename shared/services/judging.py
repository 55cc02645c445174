"""Judging an instance: whether it may be stored, with which warning, and what of it goes into the index.

Pure: from the scan of a file, and what the caller of the store wants, to an outcome and an instance ready to commit.
The rules are those of the original service. dicom/validation.py and dicom/full_validation.py find what breaks them;
this file says what follows:

|                                          | v1                     | v2                                            |
|------------------------------------------|------------------------|-----------------------------------------------|
| a required attribute is missing          | fails                  | fails                                         |
| PatientID is there, but empty            | fails                  | stored, a comment, warning 1                  |
| a required attribute breaks a strict rule| fails                  | fails                                         |
| an indexed attribute does                | fails                  | as any attribute                              |
| any other value breaks a rule of its VR  | is not looked at       | stored without it, a comment, warning 1       |
| the file is in Implicit VR, or cut short | stored, warning 45063  | the same; goes before warning 1               |
| the URL names another study              | fails                  | fails                                         |
"""

import gzip
import json
from dataclasses import dataclass, replace

from shared.dicom.attributes import (
    INSTANCE_NUMBER,
    PATIENT_ID,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from shared.dicom.full_validation import InvalidElements, invalid_elements, without
from shared.dicom.instance import Instance, read_instance
from shared.dicom.matching import fold_number, strip_padding
from shared.dicom.scanned import ScannedFile
from shared.dicom.syntaxes import IMPLICIT_LITTLE
from shared.dicom.validation import INDEXED, REQUIRED, Finding, findings, has_several_values, missing
from shared.dicomweb.store_response import FailureReason, WarningReason
from shared.model import InstanceKey, NewInstance


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What a caller wants of a store.

    `study`: instances of another study fail. `replaces`: instances that exist are replaced instead of failing.
    `lenient`: attributes that break a rule are left out of metadata and index with a warning (v2) instead of failing
    the instance (v1).
    """

    study: str | None
    replaces: bool
    lenient: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the store of one instance ended: stored when `failure` is None.

    `sop_class` and `sop_instance` are what the file says, None where they could not be read. `several_values` says that
    an indexed attribute has several, of which only the first is indexed.
    """

    sop_class: str | None
    sop_instance: str | None
    key: InstanceKey | None = None
    failure: FailureReason | None = None
    warning: WarningReason | None = None
    comments: tuple[Finding, ...] = ()
    several_values: bool = False


def prepare(scanned: ScannedFile, version: str, request: StoreRequest) -> tuple[Outcome, NewInstance | None]:
    """Parse and judge one instance whose bytes are to be the blob `version`; None where it may not be stored.

    Work for a thread. Raises MalformedDicom when the data set cannot be read.
    """
    instance = read_instance(scanned)
    outcome, metadata = judge(instance, request)
    if outcome.failure is not None or outcome.key is None:
        return outcome, None
    text = json.dumps(metadata.metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    new = NewInstance(
        key=outcome.key,
        version=version,
        length=scanned.length,
        transfer_syntax=scanned.transfer_syntax,
        sop_class=strip_padding(instance.sop_class or ""),
        metadata=gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0),
        frames=instance.frames.pack() if instance.frames else None,
        bulk=instance.bulk.pack() if instance.bulk else None,
        study_attributes=metadata.study_attributes,
        series_attributes=metadata.series_attributes,
        number=fold_number(metadata.first(INSTANCE_NUMBER) or "") or "",
    )
    return outcome, new


def judge(instance: Instance, request: StoreRequest) -> tuple[Outcome, Instance]:
    """Whether an instance may be stored, with which warning, and what of it goes into the index."""
    sop_class, sop_instance = instance.sop_class, instance.first(SOP_INSTANCE_UID)
    invalid = invalid_elements(instance.data_set, instance.metadata) if request.lenient else _NOTHING_INVALID
    strict = findings(
        instance.metadata, REQUIRED if request.lenient else INDEXED, trailing_nuls_count=not request.lenient
    )
    absent = missing(instance.metadata)
    comments = (*(Finding(tag, f"The required tag '{_parenthesised(tag)}' is missing.") for tag in absent), *strict)
    forgiven = request.lenient and absent == [PATIENT_ID] and PATIENT_ID in instance.metadata
    if strict or (absent and not forgiven):
        failed = Outcome(sop_class, sop_instance, failure=FailureReason.CANNOT_UNDERSTAND)
        return replace(failed, comments=(*comments, *invalid.findings)), instance
    key = InstanceKey(*(strip_padding(instance.first(tag) or "") for tag in _KEY_TAGS))
    if request.study is not None and key.study != request.study:
        return Outcome(sop_class, sop_instance, failure=FailureReason.CANNOT_UNDERSTAND), instance
    comments = (*comments, *invalid.findings)
    warning = None
    if instance.transfer_syntax == IMPLICIT_LITTLE or instance.truncated:
        warning = WarningReason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    elif comments:
        warning = WarningReason.INDEXED_WITHOUT_INVALID_ATTRIBUTES
    kept = replace(instance, metadata=without(instance.metadata, invalid.paths))
    several = has_several_values(instance.metadata)
    return Outcome(sop_class, sop_instance, key, None, warning, comments, several), kept


_NOTHING_INVALID = InvalidElements((), ())
_KEY_TAGS = (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)


def _parenthesised(tag: str) -> str:
    return f"({tag[:4].lower()},{tag[4:].lower()})"
