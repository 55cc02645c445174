"""Turning instances and frames into Explicit VR Little Endian (PS3.5 §A.2), as far as pydicom's own decoders go.

What can be turned: the native transfer syntaxes, the deflated one, and RLE Lossless (PS3.5 Annex G). Everything else
needs a codec and raises CannotTranscode; PS3.18 §8.7.3.5 wants a 406 then.

Work for a thread. Whole files are held in memory, so callers bound their size.
"""

import io
import sys
from array import array
from dataclasses import dataclass

import pydicom
from pydicom import DataElement, Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from shared.dicom.deflated import inflates_within
from shared.dicom.matching import values_of
from shared.errors import CannotTranscode
from shared.model import JsonDataSet

EXPLICIT_LITTLE = str(ExplicitVRLittleEndian)
EXPLICIT_BIG = str(ExplicitVRBigEndian)
DEFLATED = str(DeflatedExplicitVRLittleEndian)

#: Syntaxes whose pixel data, once inflated, are the bytes of the pixels (PS3.5 §A.1, §A.2, §A.3, §A.5).
NATIVE = frozenset({str(ImplicitVRLittleEndian), EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED})
#: Syntaxes whose frames are the same bytes in Explicit VR Little Endian.
SAME_FRAMES = NATIVE - {EXPLICIT_BIG}
_DECODABLE = frozenset({str(RLELossless)})

#: Bytes of one number in values of each VR that a change of byte order swaps (PS3.5 §7.3).
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


@dataclass(frozen=True, slots=True)
class Image:
    """The Image Pixel attributes that decoding a frame needs (PS3.3 §C.7.6.3)."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    planar_configuration: int
    photometric_interpretation: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        return self.rows * self.columns * self.samples_per_pixel * self.bits_allocated // 8


def image_of(metadata: JsonDataSet) -> Image:
    """The Image Pixel attributes in a data set. Raises CannotTranscode when one is missing."""

    def number(tag: str, default: int | None = None) -> int:
        for value in metadata.get(tag, {}).get("Value", ())[:1]:
            if isinstance(value, int):
                return value
        if default is None:
            raise CannotTranscode(f"the image cannot be decoded: attribute ({tag[:4]},{tag[4:]}) is missing")
        return default

    bits = number("00280100")
    return Image(
        rows=number("00280010"),
        columns=number("00280011"),
        samples_per_pixel=number("00280002", 1),
        bits_allocated=bits,
        bits_stored=number("00280101", bits),
        pixel_representation=number("00280103", 0),
        planar_configuration=number("00280006", 0),
        photometric_interpretation=(values_of(metadata, "00280004") or ["MONOCHROME2"])[0],
    )


def can_transcode(source: str, target: str) -> bool:
    """Whether pixel data of one transfer syntax can be delivered in another."""
    return source == target or (target == EXPLICIT_LITTLE and source in NATIVE | _DECODABLE)


def frame_to_explicit_little(frame: bytes, source: str, image: Image, max_bytes: int) -> bytes:
    """One frame as native little endian pixels, laid out as Planar Configuration says.

    Raises CannotTranscode when there is no decoder for the source, when the frame is not what it should be, or when it
    would be larger than `max_bytes`.
    """
    if source in SAME_FRAMES:
        return frame
    if source == EXPLICIT_BIG:
        if image.bits_allocated <= 8:
            # Bytes in OW are swapped in pairs and those in OB are not; the frame alone does not tell which it is.
            raise CannotTranscode("8-bit frames of big endian instances are only available as stored")
        return _swapped(frame, image.bits_allocated // 8)
    if source not in _DECODABLE:
        raise CannotTranscode("there is no decoder for the transfer syntax the instance is stored in")
    if image.frame_bytes > max_bytes:
        raise CannotTranscode(f"the frame is larger than {max_bytes} bytes when it is decoded")
    try:
        decoded, properties = get_decoder(source).as_buffer(
            encapsulate([frame]),
            index=0,
            transfer_syntax_uid=UID(source),
            rows=image.rows,
            columns=image.columns,
            samples_per_pixel=image.samples_per_pixel,
            number_of_frames=1,
            bits_allocated=image.bits_allocated,
            bits_stored=image.bits_stored,
            pixel_representation=image.pixel_representation,
            photometric_interpretation=image.photometric_interpretation,
            planar_configuration=image.planar_configuration,
            pixel_keyword="PixelData",
        )
    except Exception as error:
        # Decoders raise whatever a broken codestream leads them to; to the caller it all means the same.
        raise CannotTranscode(f"the frame cannot be decoded ({type(error).__name__})") from None
    if image.samples_per_pixel > 1 and properties["planar_configuration"] == 1 and not image.planar_configuration:
        return _by_pixel(bytes(decoded), image.samples_per_pixel, max(1, image.bits_allocated // 8))
    return bytes(decoded)


def file_to_explicit_little(data: bytes, max_bytes: int) -> bytes:
    """A whole PS3.10 file rewritten in Explicit VR Little Endian, with its own Implementation Class UID.

    Raises CannotTranscode when it cannot be decoded or read, or when it would be larger than `max_bytes`: a small file
    can say that it is a very large image.
    """
    try:
        if not inflates_within(data, max_bytes):
            raise CannotTranscode(f"the instance is larger than {max_bytes} bytes when it is inflated")
        data_set = pydicom.dcmread(io.BytesIO(data), force=True)
        source = str(data_set.file_meta.TransferSyntaxUID)
        if source in _DECODABLE and _decoded_bytes(data_set) > max_bytes:
            raise CannotTranscode(f"the instance is larger than {max_bytes} bytes when it is decoded")
        if source == EXPLICIT_BIG:
            _swap_words(data_set)
        elif source in _DECODABLE:
            _decode(data_set, source)
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = io.BytesIO()
        pydicom.dcmwrite(out, data_set, implicit_vr=False, little_endian=True, force_encoding=True)
    except CannotTranscode:
        raise
    except Exception as error:
        # As above: third-party readers and writers raise anything, and their texts may quote values.
        raise CannotTranscode(f"the instance cannot be transcoded ({type(error).__name__})") from None
    return out.getvalue()


def _decoded_bytes(data_set: Dataset) -> int:
    """What the pixels of an image take up natively."""
    frames = int(data_set.get("NumberOfFrames") or 1)
    bits = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel * data_set.BitsAllocated
    return int(frames * bits // 8)


def _decode(data_set: Dataset, source: str) -> None:
    """Replace encapsulated by native pixel data."""
    frames = int(data_set.get("NumberOfFrames") or 1)
    decoder = get_decoder(source)
    image = Image(
        rows=data_set.Rows,
        columns=data_set.Columns,
        samples_per_pixel=data_set.SamplesPerPixel,
        bits_allocated=data_set.BitsAllocated,
        bits_stored=data_set.BitsStored,
        pixel_representation=data_set.PixelRepresentation,
        planar_configuration=int(data_set.get("PlanarConfiguration") or 0),
        photometric_interpretation=data_set.PhotometricInterpretation,
    )
    pixels = bytearray()
    for index in range(frames):
        decoded, properties = decoder.as_buffer(data_set, index=index)
        frame = bytes(decoded)
        if image.samples_per_pixel > 1 and properties["planar_configuration"] == 1 and not image.planar_configuration:
            frame = _by_pixel(frame, image.samples_per_pixel, max(1, image.bits_allocated // 8))
        pixels += frame
    if len(pixels) % 2:
        pixels.append(0)  # values have even length (PS3.5 §7.1.1)
    vr = "OW" if image.bits_allocated > 8 else "OB"
    data_set[0x7FE00010] = DataElement(0x7FE00010, vr, bytes(pixels))


def _swap_words(data_set: Dataset) -> None:
    """Turn the big endian words of binary values round; what is made of text or numbers the writer turns itself."""
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                _swap_words(item)
        elif element.VR in _WORDS and isinstance(element.value, bytes):
            element.value = _swapped(element.value, _word(data_set, element))


def _word(data_set: Dataset, element: DataElement) -> int:
    if element.tag == 0x7FE00010 and int(data_set.get("BitsAllocated") or 0) > 16:
        return int(data_set.BitsAllocated) // 8
    return _WORDS[element.VR]


def _swapped(data: bytes, size: int) -> bytes:
    codes = {2: "H", 4: "I", 8: "Q"}
    whole = len(data) // size * size
    words = array(codes[size], data[:whole])
    words.byteswap()
    return words.tobytes() + data[whole:]


def _by_pixel(planes: bytes, samples: int, size: int) -> bytes:
    """Colour by plane turned into colour by pixel (PS3.3 §C.7.6.3.1.3); `size` is the bytes of one sample."""
    plane = len(planes) // samples
    out = bytearray(len(planes))
    for sample in range(samples):
        part = planes[sample * plane : (sample + 1) * plane]
        for byte in range(size):
            out[sample * size + byte :: samples * size] = part[byte::size]
    return bytes(out)


assert sys.byteorder == "little", "byte orders are swapped on the assumption of a little endian machine"
