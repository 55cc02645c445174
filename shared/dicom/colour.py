"""Colours as eight bits of red, green and blue (PS3.3 §C.7.6.3.1.2, §C.7.6.3.1.5, §C.7.9).

    palette --entries of the data set--> RGB        YBR_FULL, YBR_FULL_422, YBR_PARTIAL_* --matrix--> RGB

Decides what is made of samples that have not eight bits: their highest eight count, fewer are stretched. YBR_RCT and
YBR_ICT are RGB by the time a frame is decoded.

Facts
- All three tables of a palette have the descriptor of the red one.
- Some palettes of 16 bits hold numbers up to 255 throughout: they are meant as eight bits, or the image would be black.

Left out: windows, which are for grayscale alone; ICC profiles; supplemental palettes (PS3.3 §C.7.6.19), whose images
are shown as the grayscale they are.
"""

from typing import TYPE_CHECKING, Any, Final

from shared.dicom.image import Frame
from shared.dicom.lookup import descriptor_of, entries_of, expanded, in_strips, looked_up
from shared.errors import CannotRender

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

PALETTE: Final = "PALETTE COLOR"

#: Retired ways to say a colour (PS3.3 §C.7.6.3.1.2) that are not red, green and blue.
_OTHER_SPACES: Final = frozenset({"HSV", "ARGB", "CMYK"})


def rgb(data_set: "Dataset", frame: Frame) -> "NDArray[Any]":
    """A frame of colours as uint8 of shape (rows, columns, 3). Raises CannotRender when its colours are not known."""
    import numpy

    image = frame.image
    if image.samples_per_pixel == 1:
        return _of_palette(data_set, frame)
    if image.samples_per_pixel != 3 or image.photometric_interpretation in _OTHER_SPACES:
        raise CannotRender("the image cannot be rendered: its colours are neither RGB, nor YBR, nor of a palette")
    samples = frame.array()
    if samples.dtype.kind == "f":
        raise CannotRender("colour images of floating point numbers are not rendered")
    convert = _converter(image.photometric_interpretation)
    return in_strips(samples, lambda strip: convert(_eight_bits(strip, image.bits_stored)), 3, dtype=numpy.uint8)


def _eight_bits(samples: "NDArray[Any]", bits: int) -> "NDArray[Any]":
    """Samples of so many bits as uint8. There are no negative colours: a sign is the highest bit."""
    import numpy

    if samples.dtype == numpy.uint8 and bits == 8:
        return samples
    most = (1 << bits) - 1
    cells = samples.astype(numpy.uint64) & numpy.uint64(most)
    scaled = cells >> numpy.uint64(bits - 8) if bits >= 8 else (cells * 255 + most // 2) // most
    return scaled.astype(numpy.uint8)


def _converter(photometric: str) -> Any:
    """From uint8 samples of a colour space to those of RGB."""
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        from pydicom.pixels.processing import convert_color_space

        return lambda colours: convert_color_space(colours, "YBR_FULL", "RGB")
    return _from_partial_range if photometric.startswith("YBR_PARTIAL") else lambda colours: colours


def _from_partial_range(colours: "NDArray[Any]") -> "NDArray[Any]":
    """YBR_PARTIAL_420 and YBR_PARTIAL_422, whose brightness is 16 to 235 (PS3.3 §C.7.6.3.1.2)."""
    import numpy

    y, cb, cr = (colours[..., plane].astype(numpy.float32) for plane in range(3))
    brightness = 1.1644 * (y - 16.0)
    red = brightness + 1.5960 * (cr - 128.0)
    green = brightness - 0.3917 * (cb - 128.0) - 0.8130 * (cr - 128.0)
    blue = brightness + 2.0173 * (cb - 128.0)
    return numpy.clip(numpy.rint(numpy.stack([red, green, blue], axis=-1)), 0, 255).astype(numpy.uint8)


def _of_palette(data_set: "Dataset", frame: Frame) -> "NDArray[Any]":
    import numpy

    descriptor = descriptor_of(
        data_set.get("RedPaletteColorLookupTableDescriptor"), signed=bool(frame.image.pixel_representation)
    )
    tables = []
    for colour in ("Red", "Green", "Blue"):
        plain, segmented = (f"{kind}{colour}PaletteColorLookupTableData" for kind in ("", "Segmented"))
        read, keyword = (entries_of, plain) if plain in data_set else (expanded, segmented)
        tables.append(read(data_set, keyword, descriptor))
    # A table that ends early goes on with its last entry, as it does for values behind its end.
    size = max(table.size for table in tables)
    colours = numpy.stack([numpy.pad(table, (0, size - table.size), mode="edge") for table in tables], axis=-1)
    shift = max(0, descriptor.bits - 8) if colours.max() > 0xFF else 0
    palette = (colours >> shift).astype(numpy.uint8)
    values, first = frame.array(), descriptor.first
    return in_strips(values, lambda strip: looked_up(palette, first, strip.astype(float)), 3, dtype=numpy.uint8)
