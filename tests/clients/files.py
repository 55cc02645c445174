"""What the tests of the clients store: one study, two series, five instances, no two alike."""

from dataclasses import dataclass
from io import BytesIO
from typing import Self

from pydicom import Dataset, dcmread

from tests.builders import CT_IMAGE, ct_slice, instance
from tests.e2e.service import new_uid

#: A value that is too long for the metadata, so that it is fetched from its BulkDataURI.
DOCUMENT = b"%PDF-1.7 " + bytes(range(256)) * 8000

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"


@dataclass(frozen=True)
class Sample:
    """A study of UIDs that nobody else uses, as files by SOP Instance UID."""

    study: str
    files: dict[str, bytes]

    @classmethod
    def new(cls) -> Self:
        study = new_uid()
        slices, others = f"{study}.1", f"{study}.2"
        files = {f"{slices}.{n}": ct_slice(n, study, slices) for n in (1, 2, 3)}
        files[f"{others}.1"] = instance(
            study=study,
            series=others,
            sop=f"{others}.1",
            rows=32,
            columns=48,
            frames=3,
            PatientName="Doe^Test",
            SOPClassUID=CT_IMAGE,
            SeriesNumber=7,
        )
        files[f"{others}.2"] = instance(
            study=study,
            series=others,
            sop=f"{others}.2",
            SOPClassUID=ENCAPSULATED_PDF,
            Modality="OT",
            SeriesNumber=7,
            InstanceNumber=2,
            EncapsulatedDocument=DOCUMENT,
            MIMETypeOfEncapsulatedDocument="application/pdf",
            **dict.fromkeys(
                ("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored")
            ),
            **dict.fromkeys(("HighBit", "PixelRepresentation", "PixelData")),
        )
        return cls(study, files)

    @property
    def slices(self) -> str:
        """The series of three CT slices, half a megabyte each."""
        return f"{self.study}.1"

    @property
    def others(self) -> str:
        """The series of an image of three frames and a document."""
        return f"{self.study}.2"

    @property
    def multiframe(self) -> str:
        return f"{self.others}.1"

    @property
    def document(self) -> str:
        return f"{self.others}.2"

    def data_sets(self, series: str = "") -> list[Dataset]:
        """The instances of the study, or of one of its series, as pydicom reads them."""
        return [
            dcmread(BytesIO(file)) for uid, file in self.files.items() if uid.startswith(f"{series or self.study}.")
        ]
