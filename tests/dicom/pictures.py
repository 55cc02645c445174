"""Made-up pictures for the tests of rendering, and what is seen of them."""

import io
from typing import Any

import numpy
from PIL import Image as Pillow
from pydicom import Dataset, Sequence

from shared.dicom.image import Frame, Image
from shared.dicom.rendering import Rendering, render

RAMP = numpy.arange(-2000, 2000, dtype=numpy.int16).reshape(40, 100)


def grey(values: Any, bits: int = 16, signed: bool = False, photometric: str = "MONOCHROME2") -> Frame:
    array = numpy.asarray(values, dtype=f"<{'i' if signed else 'u'}{max(1, bits // 8)}")
    rows, columns = array.shape
    return Frame(array.tobytes(), Image(rows, columns, 1, bits, bits, int(signed), 0, photometric))


def floats(values: Any) -> Frame:
    array = numpy.asarray(values, dtype="<f4")
    return Frame(array.tobytes(), Image(*array.shape, 1, 32, 32, 0, 0, "MONOCHROME2", floating=True))


def colour(values: Any, photometric: str = "RGB", bits: int = 8) -> Frame:
    array = numpy.asarray(values, dtype=numpy.uint8 if bits <= 8 else "<u2")
    rows, columns, samples = array.shape
    return Frame(array.tobytes(), Image(rows, columns, samples, array.itemsize * 8, bits, 0, 0, photometric))


def lut(descriptor: list[int], data: Any) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return Sequence([item])


def pixels_of(image: bytes) -> Any:
    return numpy.asarray(Pillow.open(io.BytesIO(image)))


def shown(data_set: Dataset, frame: Frame, **wanted: Any) -> Any:
    return pixels_of(render(data_set, frame, wanted.pop("number", 1), Rendering("image/png", **wanted)))


def eight_bits(fractions: Any) -> Any:
    return numpy.floor(numpy.clip(fractions, 0, 1) * 255 + 0.5).astype(numpy.uint8)
