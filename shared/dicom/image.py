"""What the pixels of an image look like (PS3.3 §C.7.6.3 Image Pixel Module), and one decoded frame of them.

Decides which combinations of the attributes describe pixels at all, and how the bytes of a native frame become an array
(PS3.5 §8.1.1, §8.1.2). Leaves out codecs (codecs.py) and what pixels mean on a screen: windows, palettes, colours.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.dicom.matching import values_of
from shared.errors import CannotTranscode
from shared.model import JsonDataSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDES: Final = range(1, 0x10000)  # Rows and Columns are US
_BITS_ALLOCATED: Final = (1, 8, 16, 32, 64)
_FLOATING: Final = (32, 64)  # Float and Double Float Pixel Data (PS3.3 §C.7.6.24, §C.7.6.25)

#: Two pixels of a row share one Cb and one Cr: Y Y Cb Cr (PS3.3 §C.7.6.3.1.2).
YBR_FULL_422: Final = "YBR_FULL_422"


@dataclass(frozen=True, slots=True)
class Image:
    """The attributes that say how the pixels of one frame are encoded.

    `floating` is true for Float and Double Float Pixel Data, which have neither Bits Stored nor Pixel Representation.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    planar_configuration: int
    photometric_interpretation: str
    floating: bool = False

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame."""
        samples = self.rows * self.columns * self.samples_per_pixel
        if self.photometric_interpretation == YBR_FULL_422:
            samples = samples // 3 * 2
        return samples * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame; of one of single bits, with the last byte filled up."""
        return (self.frame_bits + 7) // 8

    @property
    def by_plane(self) -> bool:
        """Whether all samples of one colour come before those of the next (Planar Configuration 1)."""
        return self.samples_per_pixel > 1 and self.planar_configuration == 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, decoded: `pixels` are native and little endian, exactly `image.frame_bytes` long.

    `image` describes these pixels, not those that were stored: what decoding changed is changed in it.
    """

    pixels: bytes
    image: Image

    def samples(self) -> "NDArray[Any]":
        """The samples as they lie in memory cells, read-only: (rows, columns) or (rows, columns, samples).

        Bits above Bits Stored are left as they are. Single bits come as uint8 0 and 1; the chrominance of
        YBR_FULL_422 is repeated for both pixels that share it.
        """
        import numpy

        image = self.image
        shape = (image.rows, image.columns)
        if image.bits_allocated == 1:
            bits = numpy.unpackbits(numpy.frombuffer(self.pixels, numpy.uint8), bitorder="little")
            return _read_only(bits[: image.rows * image.columns].reshape(shape))
        flat = numpy.frombuffer(self.pixels, f"<{_kind(image)}{image.bits_allocated // 8}")
        if image.photometric_interpretation == YBR_FULL_422:
            return _read_only(_upsampled(flat, image))
        if image.samples_per_pixel == 1:
            return flat.reshape(shape)
        if image.by_plane:
            return flat.reshape(image.samples_per_pixel, *shape).transpose(1, 2, 0)
        return flat.reshape(*shape, image.samples_per_pixel)

    def array(self) -> "NDArray[Any]":
        """The values of the pixels, read-only: as `samples`, without what lies above Bits Stored.

        Negative values are sign-extended from the highest stored bit. 8, 16, 32 or 64 bits, integer or float.
        """
        cells, image = self.samples(), self.image
        unused = image.bits_allocated - image.bits_stored
        if image.floating or image.bits_allocated == 1 or not unused:
            return cells
        return _read_only((cells << unused) >> unused)


def image_of(metadata: JsonDataSet) -> Image:
    """The Image Pixel attributes in a data set.

    Raises CannotTranscode when one that is needed is missing, or when together they describe no image that can be
    decoded. An image of 32 or 64 bits without Bits Stored, which integers must have, is one of floats.
    """

    def number(tag: str, default: int | None = None) -> int:
        for value in metadata.get(tag, {}).get("Value", ())[:1]:
            if isinstance(value, int):
                return value
        if default is None:
            raise CannotTranscode(f"the image cannot be decoded: attribute ({tag[:4]},{tag[4:]}) is missing")
        return default

    bits = number("00280100")
    floating = bits in _FLOATING and not metadata.get("00280101", {}).get("Value")
    return checked(
        Image(
            rows=number("00280010"),
            columns=number("00280011"),
            samples_per_pixel=number("00280002", 1),
            bits_allocated=bits,
            bits_stored=number("00280101", bits),
            pixel_representation=number("00280103", 0),
            planar_configuration=number("00280006", 0),
            photometric_interpretation=(values_of(metadata, "00280004") or ["MONOCHROME2"])[0],
            floating=floating,
        )
    )


def checked(image: Image) -> Image:
    """The image, if its attributes agree with one another. Raises CannotTranscode when they do not."""
    bits, samples = image.bits_allocated, image.samples_per_pixel
    if image.rows not in _SIDES or image.columns not in _SIDES:
        raise CannotTranscode("the image cannot be decoded: Rows or Columns is not between 1 and 65535")
    if bits not in _BITS_ALLOCATED or samples not in (1, 3, 4) or (samples > 1 and bits == 1):
        raise CannotTranscode("the image cannot be decoded: there is no decoder for its Bits Allocated and samples")
    if not 1 <= image.bits_stored <= bits or image.pixel_representation not in (0, 1):
        raise CannotTranscode("the image cannot be decoded: Bits Stored or Pixel Representation is impossible")
    if image.photometric_interpretation == YBR_FULL_422 and samples != 3:
        raise CannotTranscode("the image cannot be decoded: Photometric Interpretation and samples do not agree")
    return image


def _kind(image: Image) -> str:
    if image.floating:
        return "f"
    return "i" if image.pixel_representation else "u"


def _upsampled(flat: "NDArray[Any]", image: Image) -> "NDArray[Any]":
    """Y Y Cb Cr turned into Y Cb Cr for every pixel."""
    import numpy

    if image.columns % 2:
        raise CannotTranscode("the image cannot be decoded: YBR_FULL_422 with an odd number of columns")
    pairs = flat.reshape(image.rows, image.columns // 2, 4)
    out = numpy.empty((image.rows, image.columns // 2, 2, 3), flat.dtype)
    out[..., 0] = pairs[..., :2]
    out[..., 1] = pairs[..., 2:3]
    out[..., 2] = pairs[..., 3:4]
    return out.reshape(image.rows, image.columns, 3)


def _read_only(array: "NDArray[Any]") -> "NDArray[Any]":
    array.flags.writeable = False
    return array
