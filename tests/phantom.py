"""Made-up CT series to look at: bodies of nobody, computed from ellipsoids, in Hounsfield units.

Decides: the shapes, the noise (always the same) and the geometry, so that slices of several series lie in one frame of
reference. Leaves out any claim to anatomy: a viewer must have something to show, no more. `python -m tests.phantom URL`
stores the studies in a service, for a look at the viewer.
"""

import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tests.builders import CT_IMAGE, SECONDARY_CAPTURE, instance

type Volume = np.ndarray[tuple[int, int, int], np.dtype[np.float32]]

#: Voxels along x (to the left), y (to the back) and z (to the head), and the length of their edges in mm.
SIZE: Final = 256
SPACING: Final = 0.9
SLICES: Final = 30
SLICE_SPACING: Final = 6.0


@dataclass(frozen=True)
class Ellipsoid:
    """Tissue of one density in HU; centre and half axes (x, y, z) in parts of half the volume's width."""

    hu: float
    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    #: Degrees by which it is turned in the axial plane.
    turned: float = 0.0


HEAD: Final = (
    Ellipsoid(20, (0, 0.02, 0), (0.76, 0.92, 0.75)),
    Ellipsoid(950, (0, 0.02, 0), (0.725, 0.885, 0.715)),
    Ellipsoid(33, (0, 0.02, 0), (0.67, 0.83, 0.66)),
    Ellipsoid(8, (-0.13, -0.10, 0.10), (0.075, 0.27, 0.20), 14),
    Ellipsoid(8, (0.13, -0.10, 0.10), (0.075, 0.27, 0.20), -14),
    Ellipsoid(6, (0, 0.12, 0.02), (0.025, 0.13, 0.12)),
    Ellipsoid(180, (0, 0.28, 0.04), (0.03, 0.035, 0.04)),
    Ellipsoid(68, (0.33, 0.16, 0.14), (0.12, 0.15, 0.16), 25),
    Ellipsoid(18, (-0.36, 0.30, 0.02), (0.13, 0.17, 0.20), -20),
)

CHEST: Final = (
    Ellipsoid(-95, (0, 0, 0), (0.94, 0.66, 1.6)),
    Ellipsoid(45, (0, 0, 0), (0.88, 0.60, 1.6)),
    Ellipsoid(-830, (-0.44, -0.02, 0), (0.34, 0.44, 0.95), 6),
    Ellipsoid(-830, (0.44, -0.02, 0), (0.34, 0.44, 0.95), -6),
    Ellipsoid(48, (0.12, -0.14, -0.10), (0.30, 0.25, 0.42), -30),
    Ellipsoid(230, (0.17, -0.12, -0.10), (0.13, 0.11, 0.22), -30),
    Ellipsoid(240, (-0.04, 0.20, 0.1), (0.075, 0.075, 1.6)),
    Ellipsoid(420, (0, 0.40, 0), (0.12, 0.10, 1.6)),
    Ellipsoid(10, (0, 0.42, 0), (0.045, 0.035, 1.6)),
    Ellipsoid(600, (0, -0.545, 0.1), (0.12, 0.035, 0.9)),
    Ellipsoid(55, (-0.52, -0.16, 0.12), (0.055, 0.055, 0.08)),
)


def volume(shapes: Sequence[Ellipsoid], seed: int) -> Volume:
    """The body as HU, indexed z, y, x, slices from feet to head."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    half = SLICES * SLICE_SPACING / (SIZE * SPACING)
    z, y, x = np.meshgrid(np.linspace(-half, half, SLICES, dtype=np.float32), axis, axis, indexing="ij")
    body = np.full(x.shape, -1000, np.float32)
    for shape in shapes:
        cos, sin = np.cos(np.radians(shape.turned)), np.sin(np.radians(shape.turned))
        across, along = x - shape.centre[0], y - shape.centre[1]
        distances = (
            (across * cos + along * sin) / shape.axes[0],
            (along * cos - across * sin) / shape.axes[1],
            (z - shape.centre[2]) / shape.axes[2],
        )
        radius = np.sqrt(sum(each**2 for each in distances))
        # The edge is as wide as two voxels, as after a reconstruction.
        share = np.clip((1 - radius) * min(shape.axes) * SIZE / 4 + 0.5, 0, 1)
        body += share * (shape.hu - body)
    soft = (body > -200) & (body < 200)
    folds = np.sin(23 * x + 5 * np.sin(11 * y)) * np.sin(19 * y + 4 * np.sin(13 * x + 7 * z))
    body += np.where(soft, 4 * folds, 0)
    body += np.random.default_rng(seed).normal(0, 4, body.shape).astype(np.float32)
    return body


@dataclass(frozen=True)
class PhantomStudy:
    """A patient who does not exist, and what was made of them."""

    name: str
    patient: str
    description: str
    date: str
    shapes: Sequence[Ellipsoid]
    #: Window centre and width in HU.
    window: tuple[int, int]
    uid: str
    accession: str

    def files(self) -> Iterator[bytes]:
        """Two CT series, axial and coronal, and a colour picture, as PS3.10 files."""
        body = volume(self.shapes, seed=len(self.name))
        width, height = SIZE * SPACING, SLICES * SLICE_SPACING
        for n in range(SLICES):
            origin = (-width / 2, -width / 2, -height / 2 + n * SLICE_SPACING)
            yield self._slice(2, "Axial 6 mm", n + 1, body[n], origin, (1, 0, 0, 0, 1, 0), (SPACING, SPACING))
        planes = range(SIZE // 8, SIZE - SIZE // 8, 8)
        for n, plane in enumerate(planes, start=1):
            origin = (-width / 2, -width / 2 + plane * SPACING, height / 2)
            picture = body[::-1, plane, :]
            yield self._slice(3, "Coronal", n, picture, origin, (1, 0, 0, 0, 0, -1), (SLICE_SPACING, SPACING))
        yield self._colours()

    def _slice(
        self,
        series: int,
        description: str,
        number: int,
        hu: np.ndarray[Any, Any],
        origin: tuple[float, float, float],
        directions: tuple[int, ...],
        spacing: tuple[float, float],
    ) -> bytes:
        pixels = np.clip(np.rint(hu), -1024, 3071).astype("<i2")
        return self._instance(
            series,
            number,
            SOPClassUID=CT_IMAGE,
            Modality="CT",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            SeriesDescription=description,
            Rows=pixels.shape[0],
            Columns=pixels.shape[1],
            BitsAllocated=16,
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=1,
            RescaleIntercept="0",
            RescaleSlope="1",
            WindowCenter=str(self.window[0]),
            WindowWidth=str(self.window[1]),
            FrameOfReferenceUID=f"{self.uid}.99",
            ImagePositionPatient=[f"{value:.2f}" for value in origin],
            ImageOrientationPatient=[str(value) for value in directions],
            PixelSpacing=[f"{value:g}" for value in spacing],
            SliceThickness=f"{SLICE_SPACING:g}",
            KVP="120",
            PixelData=pixels.tobytes(),
        )

    def _colours(self) -> bytes:
        """A wheel of hues, for a picture in colour."""
        axis = np.linspace(-1, 1, SIZE)
        y, x = np.meshgrid(axis, axis, indexing="ij")
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        shades = [0.5 + 0.5 * np.cos(angle - shift) for shift in (0, 2.1, 4.2)]
        picture = np.stack(shades, axis=-1) * (0.25 + 0.75 * radius[..., None]) * (radius[..., None] < 0.9)
        return self._instance(
            4,
            1,
            SOPClassUID=SECONDARY_CAPTURE,
            Modality="OT",
            SeriesDescription="Colours",
            Rows=SIZE,
            Columns=SIZE,
            SamplesPerPixel=3,
            PlanarConfiguration=0,
            PhotometricInterpretation="RGB",
            PixelData=(picture * 255).astype(np.uint8).tobytes(),
        )

    def _instance(self, series: int, number: int, **elements: Any) -> bytes:
        return instance(
            study=self.uid,
            series=f"{self.uid}.{series}",
            sop=f"{self.uid}.{series}.{number}",
            PatientName=self.name,
            PatientID=self.patient,
            PatientBirthDate="19700101",
            PatientSex="O",
            StudyDate=self.date,
            StudyTime="101500",
            SeriesDate=self.date,
            SeriesTime=f"10{15 + series}00",
            StudyDescription=self.description,
            AccessionNumber=self.accession,
            StudyID="1",
            SeriesNumber=series,
            InstanceNumber=number,
            Manufacturer="Made up",
            **elements,
        )


STUDIES: Final = (
    PhantomStudy(
        "Phantom^Ada",
        "PH-0001",
        "Head of nobody",
        "20260310",
        HEAD,
        (40, 120),
        "1.2.826.0.1.3680043.10.1561.7.1",
        "A-101",
    ),
    PhantomStudy(
        "Phantom^Bruno",
        "PH-0002",
        "Chest of nobody",
        "20260311",
        CHEST,
        (40, 400),
        "1.2.826.0.1.3680043.10.1561.7.2",
        "A-102",
    ),
    PhantomStudy(
        "Model^Clara",
        "PH-0003",
        "Head of nobody else",
        "20260312",
        HEAD[:-2],
        (40, 90),
        "1.2.826.0.1.3680043.10.1561.7.3",
        "A-103",
    ),
)


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m tests.phantom http://localhost:7071/v2", file=sys.stderr)
        return 2
    for study in STUDIES:
        for file in study.files():
            request = urllib.request.Request(
                f"{sys.argv[1]}/studies",
                file,
                {"Content-Type": "application/dicom", "Accept": "application/dicom+json"},
            )
            with urllib.request.urlopen(request):
                pass
        print(f"{study.name}, {study.description}: {study.uid}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
