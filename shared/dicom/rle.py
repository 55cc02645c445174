"""RLE Lossless (PS3.5 Annex G): segments of PackBits, one for each byte of each sample, most significant first.

An image of single bits is one segment of its native bytes.
"""

import struct
from typing import TYPE_CHECKING, Any, Final

from shared.dicom.image import Image
from shared.errors import CannotTranscode

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER: Final = struct.Struct("<16I")  # number of segments and the offsets of up to 15 (§G.5)
_MAX_SEGMENTS: Final = 15
#: Bytes that writers let a segment run over its end; more of them are another image.
_SLACK: Final = 2


def rle_decode(frame: bytes, image: Image) -> bytes:
    """The native bytes of a frame, laid out as its Planar Configuration says.

    Raises CannotTranscode when the segments are not those of the image.
    """
    import imagecodecs
    import numpy

    count = rle_segments(image)
    if len(frame) < _HEADER.size:
        raise CannotTranscode("the frame cannot be decoded: its RLE header is cut short")
    said, *offsets = _HEADER.unpack_from(frame)
    bounds = [*offsets[:count], len(frame)]
    if said != count or bounds != sorted(bounds) or bounds[0] < _HEADER.size:
        raise CannotTranscode("the frame cannot be decoded: its RLE segments are not those of the image")
    size = image.frame_bytes // count
    width = max(1, image.bits_allocated // 8)
    planes = numpy.empty((image.samples_per_pixel if count > 1 else 1, size, width), numpy.uint8)
    for index in range(count):
        plane = imagecodecs.packbits_decode(frame[bounds[index] : bounds[index + 1]], out=size + _SLACK)
        if len(plane) < size:
            raise CannotTranscode("the frame cannot be decoded: an RLE segment is cut short")
        sample, byte = divmod(index, width)
        planes[sample, :, width - 1 - byte] = numpy.frombuffer(plane, numpy.uint8, size)
    if len(planes) > 1 and not image.by_plane:
        return planes.transpose(1, 0, 2).tobytes()
    return planes.tobytes()


def rle_encode(samples: "NDArray[Any]") -> bytes:
    """A frame of whole bytes, (rows, columns) or (rows, columns, samples); rows do not share runs (§G.3.1)."""
    import imagecodecs
    import numpy

    planes = samples[..., None] if samples.ndim == 2 else samples
    width = planes.dtype.itemsize
    segments: list[bytes] = []
    for sample in range(planes.shape[2]):
        plane = planes[..., sample]
        cells = numpy.frombuffer(plane.tobytes(), numpy.uint8).reshape(*plane.shape, width)
        for byte in reversed(range(width)):
            coded = bytes(imagecodecs.packbits_encode(cells[..., byte].copy(), axis=-1))
            segments.append(coded + b"\0" * (len(coded) % 2))
    return rle_frame(segments)


def rle_frame(segments: list[bytes]) -> bytes:
    """Header and segments of one frame (§G.5)."""
    offsets = [_HEADER.size]
    for segment in segments:
        offsets.append(offsets[-1] + len(segment))
    head = [len(segments), *offsets[:-1]]
    return _HEADER.pack(*head, *([0] * (16 - len(head)))) + b"".join(segments)


def rle_segments(image: Image) -> int:
    """Segments of a frame. Raises CannotTranscode when there would be more than 15 (§G.5)."""
    count = image.samples_per_pixel * max(1, image.bits_allocated // 8)
    if count > _MAX_SEGMENTS:
        raise CannotTranscode("the image has too many bits in a pixel for RLE Lossless")
    return count
