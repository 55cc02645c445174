"""DICOM files made in memory for the tests of every layer.

Decides: the values of the made-up instances and the pictures of the end-to-end tests. Leaves out: malformed files,
which the tests that need them write as bytes. Nothing here needs numpy or an image library.
"""

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final, Literal

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

STUDY: Final = "1.2.826.0.1.3680043.10.1561.1"
SERIES: Final = "1.2.826.0.1.3680043.10.1561.1.1"
INSTANCE: Final = "1.2.826.0.1.3680043.10.1561.1.1.1"
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"

type Shape = Literal["red-triangle", "green-square", "blue-circle"]

DRAWN_STUDY: Final = "1.2.826.0.1.3680043.8.498.13230779778012324449356534479549187420"
_SERIES_OF_POLYGONS: Final = "1.2.826.0.1.3680043.8.498.45787841905473114233124723359129632652"
_SERIES_OF_CIRCLE: Final = "1.2.826.0.1.3680043.8.498.77033797676425927098669402985243398207"
DRAWN_SERIES: Final[dict[Shape, str]] = {
    "red-triangle": _SERIES_OF_POLYGONS,
    "green-square": _SERIES_OF_POLYGONS,
    "blue-circle": _SERIES_OF_CIRCLE,
}
DRAWN_INSTANCE: Final[dict[Shape, str]] = {
    "red-triangle": "1.2.826.0.1.3680043.8.498.47359123102728459884412887463296905395",
    "green-square": "1.2.826.0.1.3680043.8.498.12714725698140337137334606354172323212",
    "blue-circle": "1.2.826.0.1.3680043.8.498.13273713909719068980354078852867170114",
}
DRAWN_ROWS: Final = 979
DRAWN_COLUMNS: Final = 985


def instance(
    *,
    study: str = STUDY,
    series: str = SERIES,
    sop: str = INSTANCE,
    transfer_syntax: str = ExplicitVRLittleEndian,
    rows: int = 4,
    columns: int = 6,
    frames: int = 1,
    **elements: Any,
) -> bytes:
    """One PS3.10 file: an 8-bit MONOCHROME2 Secondary Capture whose pixel bytes count up from 0.

    `elements` are values by keyword; None leaves the element out. PixelData given for a compressed transfer syntax
    must be encapsulated already.
    """
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = SECONDARY_CAPTURE
    ds.SOPInstanceUID = sop
    ds.StudyInstanceUID = study
    ds.SeriesInstanceUID = series
    ds.StudyDate = "20240229"
    ds.Modality = "OT"
    ds.PatientName = "Doe^Test"
    ds.PatientID = "TEST-1"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = rows
    ds.Columns = columns
    if frames != 1:
        ds.NumberOfFrames = frames
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    size = rows * columns * frames
    ds.PixelData = (bytes(range(256)) * (size // 256 + 1))[:size] + b"\0" * (size % 2)
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return file_of(ds, transfer_syntax)


def file_of(ds: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The PS3.10 file of a data set."""
    syntax = UID(transfer_syntax)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", SECONDARY_CAPTURE)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", INSTANCE)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW" if syntax.is_implicit_VR or ds.get("BitsAllocated", 8) > 8 else "OB"
        ds["PixelData"].is_undefined_length = not syntax.is_private and syntax.is_encapsulated
    made = BytesIO()
    ds.save_as(made, enforce_file_format=True)
    return made.getvalue()


def ct_slice(n: int, study: str = STUDY, series: str = SERIES) -> bytes:
    """Slice `n` (from 1) of a made-up CT series: 512 x 512, 16 bits, 5 mm apart; half a megabyte."""
    row = struct.pack("<512h", *((column + n) % 2048 - 1024 for column in range(512)))
    return instance(
        study=study,
        series=series,
        sop=f"{series}.{n}",
        rows=512,
        columns=512,
        SOPClassUID=CT_IMAGE,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        StudyTime="101500",
        ContentTime=f"1015{n % 60:02}",
        AccessionNumber="ACC-1",
        Modality="CT",
        Manufacturer="Made up",
        StudyDescription="CT of nobody",
        SeriesDescription="Axial 5 mm",
        BodyPartExamined="CHEST",
        SliceThickness="5",
        KVP="120",
        PatientPosition="HFS",
        StudyID="1",
        SeriesNumber=2,
        InstanceNumber=n,
        ImagePositionPatient=["-250", "-250", str(-5 * n)],
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        FrameOfReferenceUID=f"{study}.99",
        PixelSpacing=["0.9765625", "0.9765625"],
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=1,
        WindowCenter="40",
        WindowWidth="400",
        RescaleIntercept="0",
        RescaleSlope="1",
        PixelData=row * 512,
    )


def encapsulated(
    fragments_per_frame: Sequence[Sequence[bytes]],
    *,
    bot: bool = True,
    eot: bool = False,
    transfer_syntax: str = JPEGBaseline8Bit,
    **elements: Any,
) -> bytes:
    """One file whose frames are these fragments, each padded to an even length.

    `bot` fills the Basic Offset Table; `eot` adds the Extended Offset Table and its lengths.
    """
    pieces: list[bytes] = []
    offsets, lengths, at = [], [], 0
    for fragments in fragments_per_frame:
        padded = [fragment + b"\0" * (len(fragment) % 2) for fragment in fragments]
        offsets.append(at)
        lengths.append(sum(map(len, padded)))
        pieces += (item(fragment) for fragment in padded)
        at += lengths[-1] + 8 * len(padded)
    table = struct.pack(f"<{len(offsets)}I", *offsets) if bot else b""
    if eot:
        elements["ExtendedOffsetTable"] = struct.pack(f"<{len(offsets)}Q", *offsets)
        elements["ExtendedOffsetTableLengths"] = struct.pack(f"<{len(lengths)}Q", *lengths)
    return instance(
        transfer_syntax=transfer_syntax,
        **{"frames": len(fragments_per_frame), "PixelData": b"".join([item(table), *pieces]), **elements},
    )


def item(value: bytes) -> bytes:
    """One Item (FFFE,E000) of defined length around a value, little endian."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def drawing(shape: Shape) -> bytes:
    """A white 979 x 985 RGB Secondary Capture with one shape in its middle, Explicit VR Little Endian; 2.9 MB."""
    return instance(
        study=DRAWN_STUDY,
        series=DRAWN_SERIES[shape],
        sop=DRAWN_INSTANCE[shape],
        rows=DRAWN_ROWS,
        columns=DRAWN_COLUMNS,
        StudyDate="20200922",
        StudyTime="120000",
        AccessionNumber="",
        StudyDescription="Shapes",
        PatientName="Shape^Plain",
        PatientID="ID1",
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        PixelData=_picture(shape),
    )


def _picture(shape: Shape) -> bytes:
    white, middle = b"\xff\xff\xff", DRAWN_COLUMNS // 2
    colour = {"red-triangle": b"\xed\x1c\x24", "green-square": b"\x22\xb1\x4c", "blue-circle": b"\x3f\x48\xcc"}[shape]
    rows = []
    for row in range(DRAWN_ROWS):
        half = _half_width(shape, row - DRAWN_ROWS // 2)
        rows.append(white * (middle - half) + colour * (2 * half) + white * (DRAWN_COLUMNS - middle - half))
    picture = b"".join(rows)
    return picture + b"\0" * (len(picture) % 2)


def _half_width(shape: Shape, below: int) -> int:
    """Half the width of the shape in pixels, so many rows below the middle; 0 outside it."""
    radius = 320
    if abs(below) > radius:
        return 0
    if shape == "red-triangle":
        return (below + radius) // 2
    if shape == "green-square":
        return radius
    return int((radius**2 - below**2) ** 0.5)
