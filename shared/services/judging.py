"""Judging an instance: whether it may be stored, with which warning, and what of it goes into the index.

Pure: from the scan of a file, and what the caller of the store wants, to an outcome and an instance ready to commit.
The rules are those of the original service, which differ between its v1 and v2; dicom/validation.py finds what breaks
them, this file says what follows.
"""

import gzip
import json
from dataclasses import dataclass

from shared.dicom.attributes import PATIENT_ID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from shared.dicom.instance import IMPLICIT_VR_LITTLE_ENDIAN, Instance, read_instance
from shared.dicom.matching import strip_padding
from shared.dicom.scanned import ScannedFile
from shared.dicom.validation import REQUIRED, Finding, findings, missing
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

    `sop_class` and `sop_instance` are what the file says, None where they could not be read.
    """

    sop_class: str | None
    sop_instance: str | None
    key: InstanceKey | None = None
    failure: FailureReason | None = None
    warning: WarningReason | None = None
    comments: tuple[Finding, ...] = ()


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
    )
    return outcome, new


def judge(instance: Instance, request: StoreRequest) -> tuple[Outcome, Instance]:
    """Whether an instance may be stored, with which warning, and what of it goes into the index.

    The rules are those of the original service.
    """
    sop_class, sop_instance = instance.sop_class, instance.first(SOP_INSTANCE_UID)
    absent = missing(instance.metadata)
    broken = findings(instance.metadata, trailing_nuls_count=not request.lenient)
    comments = [Finding(tag, f"The required tag '{_parenthesised(tag)}' is missing.") for tag in absent] + broken
    forgiven = request.lenient and PATIENT_ID in instance.metadata
    fatal = [each for each in comments if not request.lenient or each.tag in REQUIRED]
    if forgiven and absent == [PATIENT_ID]:
        fatal = [each for each in fatal if each.tag != PATIENT_ID]
    if fatal:
        failed = Outcome(sop_class, sop_instance, failure=FailureReason.CANNOT_UNDERSTAND, comments=tuple(comments))
        return failed, instance
    key = InstanceKey(*(strip_padding(instance.first(tag) or "") for tag in _KEY_TAGS))
    if request.study is not None and key.study != request.study:
        return Outcome(sop_class, sop_instance, failure=FailureReason.CANNOT_UNDERSTAND), instance
    warning = None
    if instance.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN:
        warning = WarningReason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    elif comments:
        warning = WarningReason.INDEXED_WITHOUT_INVALID_ATTRIBUTES
    dropped = {each.tag for each in broken}
    kept = Instance(
        {tag: element for tag, element in instance.metadata.items() if tag not in dropped},
        instance.transfer_syntax,
        instance.frames,
    )
    return Outcome(sop_class, sop_instance, key, None, warning, tuple(comments)), kept


_KEY_TAGS = (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID)


def _parenthesised(tag: str) -> str:
    return f"({tag[:4].lower()},{tag[4:].lower()})"
