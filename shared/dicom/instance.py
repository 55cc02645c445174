"""Everything the service wants to know of one instance, from the header that the scan of its file left.

    ScannedFile --read_instance--> Instance(metadata, UIDs, frame table, bulk table)

Left out: whether the instance may be stored (validation.py and services/store.py).
"""

import io
from dataclasses import dataclass, field

import pydicom
from pydicom import Dataset

from shared.dicom.attributes import SERIES_ATTRIBUTES, SOP_CLASS_UID, STUDY_ATTRIBUTES
from shared.dicom.bulk import BulkTable, bulk_reference, bulk_table
from shared.dicom.frames import FrameTable, build_frame_table
from shared.dicom.json_model import data_set_json
from shared.dicom.matching import values_of
from shared.dicom.scanned import ScannedFile
from shared.errors import MalformedDicom
from shared.model import JsonDataSet

_EXTENDED_OFFSET_TABLE = 0x7FE00001
_EXTENDED_OFFSET_TABLE_LENGTHS = 0x7FE00002

# Reading must never judge values: what a file holds is stored and returned whatever the standard says of it.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True, slots=True)
class Instance:
    """One readable instance.

    `metadata` is its data set in the DICOM JSON model, with references to the bulk values whose places are in `bulk`.
    `truncated` says that the file ended early, or with something else than its data set. `data_set` is what `metadata`
    was made from.
    """

    metadata: JsonDataSet
    transfer_syntax: str
    frames: FrameTable | None
    bulk: BulkTable | None = None
    truncated: bool = False
    data_set: Dataset = field(default_factory=Dataset, compare=False, repr=False)

    def first(self, tag: str) -> str | None:
        """The first value of an attribute as text, or None."""
        values = values_of(self.metadata, tag)
        return values[0] if values else None

    @property
    def sop_class(self) -> str | None:
        """SOP Class UID, or None."""
        return self.first(SOP_CLASS_UID)

    @property
    def study_attributes(self) -> JsonDataSet:
        """What the study's row remembers of this instance."""
        return {tag: element for tag, element in self.metadata.items() if tag in STUDY_ATTRIBUTES}

    @property
    def series_attributes(self) -> JsonDataSet:
        """What the series' row remembers of this instance."""
        return {tag: element for tag, element in self.metadata.items() if tag in SERIES_ATTRIBUTES}


def read_instance(scanned: ScannedFile) -> Instance:
    """Parse the header of a scanned file. Work for a thread: takes milliseconds to seconds of CPU.

    Raises MalformedDicom when the data set cannot be read.
    """
    data_set = read_header(scanned.header)
    table = bulk_table(scanned)
    metadata = data_set_json(data_set, table.values if table else ())
    if table and table.pixels:
        # The element is not in the header, so that it is added here, in its place in the order of tags.
        pixels = {"vr": table.pixels.vr}
        if table.pixels.length:
            pixels["BulkDataURI"] = bulk_reference(table.pixels.tag)
        metadata = dict(sorted({**metadata, table.pixels.tag: pixels}.items()))
    frames = _frame_table(scanned, data_set, metadata)
    return Instance(metadata, scanned.transfer_syntax, frames, table, scanned.truncated, data_set)


def read_header(header: bytes) -> Dataset:
    """The data set in the header of a scanned file. Raises MalformedDicom."""
    try:
        return pydicom.dcmread(io.BytesIO(header), force=True)
    except Exception as error:
        # Whatever the reading library raises means the same: these bytes are not a data set. Its text may quote values.
        raise MalformedDicom(f"the data set cannot be read ({type(error).__name__})") from None


def _frame_table(scanned: ScannedFile, data_set: Dataset, metadata: JsonDataSet) -> FrameTable | None:
    if scanned.pixels is None:
        return None
    return build_frame_table(
        scanned,
        number_of_frames=_number(metadata, "00280008") or 1,
        rows=_number(metadata, "00280010"),
        columns=_number(metadata, "00280011"),
        samples_per_pixel=_number(metadata, "00280002") or 1,
        bits_allocated=_number(metadata, "00280100"),
        photometric_interpretation=(values_of(metadata, "00280004") or [""])[0],
        extended_offset_table=_bytes(data_set, _EXTENDED_OFFSET_TABLE),
        extended_offset_table_lengths=_bytes(data_set, _EXTENDED_OFFSET_TABLE_LENGTHS),
    )


def _number(metadata: JsonDataSet, tag: str) -> int | None:
    for value in metadata.get(tag, {}).get("Value", ())[:1]:
        if isinstance(value, int) and value >= 0:
            return value
    return None


def _bytes(data_set: Dataset, tag: int) -> bytes | None:
    value = getattr(data_set.get_item(tag), "value", None)
    return value if isinstance(value, bytes) else None
