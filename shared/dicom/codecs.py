"""Which transfer syntaxes can be decoded and encoded; one frame decoded, one frame encoded (PS3.5 §8.2, Annex A).

Facts
- Every codec comes from one package, imagecodecs, which wraps libjpeg-turbo, CharLS, OpenJPEG and OpenJPH (ADR 0011).
  It is imported when the first frame is decoded, not when the app starts.
- A small codestream can claim to be a large image. Its own header is read first, must agree with the Image Pixel
  attributes, and these must describe a frame of at most `max_bytes`: only then is it given to a decoder.
- Decoders work outside the interpreter's lock: two threads decode two frames at a time.

Colour. Lossy JPEG comes out as RGB. Whether its samples are YCbCr is for its markers to say, or where these are silent
for Photometric Interpretation; they are turned into RGB as ITU-T T.871 has it.
JPEG 2000 undoes its own YBR_RCT and YBR_ICT. Anything else keeps the colours that were compressed.

Layout. Frames are laid out as Planar Configuration says, so that a frame on its own agrees with the metadata.

Leaves out: video (PS3.5 §A.4.5 onwards), arithmetic and hierarchical JPEG, and JPEG XL.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from shared.dicom.byte_order import swapped
from shared.dicom.codestreams import Codestream, j2k_codestream, j2k_header, jpeg_header
from shared.dicom.image import YBR_FULL_422, Frame, Image, checked
from shared.dicom.rle import rle_decode, rle_encode, rle_frame, rle_segments
from shared.dicom.syntaxes import (
    DEFLATED_FRAMES,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    HTJ2K,
    HTJ2K_LOSSLESS,
    JPEG,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_2000_PART_2,
    JPEG_LS,
    JPEG_LS_LOSSLESS,
    NATIVE,
    RLE_LOSSLESS,
)
from shared.errors import CannotTranscode

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL_RANGE: Final = frozenset({"YBR_FULL", YBR_FULL_422})
_UNTRANSFORMED: Final = frozenset({"YBR_RCT", "YBR_ICT"})


@dataclass(frozen=True, slots=True)
class _Decoder:
    """How frames of one family are decoded: the reader of their header, and their decoder."""

    header: Callable[[bytes], Codestream]
    decode: Callable[[bytes, Codestream, Image], "NDArray[Any]"]


def _decode_jpeg(frame: bytes, header: Codestream, image: Image) -> "NDArray[Any]":
    import imagecodecs

    if header.samples == 1:
        return imagecodecs.jpeg8_decode(frame)
    # The same colour in and out: the samples as they were compressed.
    colours = ("YCBCR", "RGB") if _is_ybr_jpeg(header, image) else ("RGB", "RGB")
    return imagecodecs.jpeg8_decode(frame, colorspace=colours[0], outcolorspace=colours[1])


def _decode_jpeg_ls(frame: bytes, header: Codestream, image: Image) -> "NDArray[Any]":
    import imagecodecs

    return imagecodecs.jpegls_decode(frame)


def _decode_j2k(frame: bytes, header: Codestream, image: Image) -> "NDArray[Any]":
    import imagecodecs

    return imagecodecs.jpeg2k_decode(j2k_codestream(frame), numthreads=1)


def _j2k_header_of(frame: bytes) -> Codestream:
    return j2k_header(j2k_codestream(frame))


_DECODERS: Final = (
    dict.fromkeys(JPEG, _Decoder(lambda frame: jpeg_header(frame, jpeg_ls=False), _decode_jpeg))
    | dict.fromkeys(JPEG_LS, _Decoder(lambda frame: jpeg_header(frame, jpeg_ls=True), _decode_jpeg_ls))
    | dict.fromkeys((*JPEG_2000, *JPEG_2000_PART_2, *HTJ2K), _Decoder(_j2k_header_of, _decode_j2k))
)

#: Transfer syntaxes whose frames `decode_frame` decodes.
DECODABLE: Final = NATIVE | {RLE_LOSSLESS, DEFLATED_FRAMES} | _DECODERS.keys()


def decode_frame(frame: bytes, transfer_syntax: str, image: Image, max_bytes: int, *, vr: str = "OW") -> Frame:
    """One stored frame as native little endian pixels; work for a thread.

    `image` is what the data set says of its pixels, `vr` the VR of the pixel data element, which matters for Explicit
    VR Big Endian only: words of OW are swapped, bytes of OB are not (PS3.5 §7.3). A compressed frame is its fragments
    put together.

    Raises CannotTranscode when there is no decoder, when the frame is broken or not what the data set says it is, or
    when it would be larger than `max_bytes`; the last before anything is allocated.
    """
    checked(image)
    if transfer_syntax not in DECODABLE:
        raise CannotTranscode("there is no decoder for the transfer syntax the instance is stored in")
    if transfer_syntax not in NATIVE and (image.floating or image.samples_per_pixel not in (1, 3)):
        raise CannotTranscode(
            "floating point pixels, or four samples a pixel, cannot be compressed and are not decoded"
        )
    untouched = transfer_syntax in NATIVE or transfer_syntax == DEFLATED_FRAMES
    decoded = image if untouched else replace(image, photometric_interpretation=_decoded_colour(image))
    if decoded.frame_bytes > max_bytes:
        raise CannotTranscode(f"the frame is larger than {max_bytes} bytes when it is decoded")
    try:
        if transfer_syntax in NATIVE:
            pixels = _native(frame, transfer_syntax, image, vr)
        elif transfer_syntax == RLE_LOSSLESS:
            pixels = rle_decode(frame, decoded)
        elif transfer_syntax == DEFLATED_FRAMES:
            pixels = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, decoded.frame_bytes)
        else:
            decoder = _DECODERS[transfer_syntax]
            header = decoder.header(frame)
            _agree(header, image)
            if transfer_syntax in JPEG and image.samples_per_pixel == 3 and not header.lossless_jpeg:
                decoded = replace(image, photometric_interpretation="RGB")
            pixels = _laid_out(decoder.decode(frame, header, image), header, decoded)
    except CannotTranscode:
        raise
    except Exception as error:
        # Decoders raise whatever a broken codestream leads them to; to the caller it all means the same.
        raise CannotTranscode(f"the frame cannot be decoded ({type(error).__name__})") from None
    if len(pixels) != decoded.frame_bytes:
        raise CannotTranscode("the frame is not as long as the image it should be")
    return Frame(pixels, decoded)


def _native(frame: bytes, transfer_syntax: str, image: Image, vr: str) -> bytes:
    size = image.frame_bytes
    if transfer_syntax != EXPLICIT_BIG:
        return frame[:size]
    return swapped(frame, word_of(image, vr))[:size]


def word_of(image: Image, vr: str) -> int:
    """Bytes of the words that a change of byte order turns round in the pixel data of an image."""
    if vr in ("OB", "UN"):
        return 1
    return max(2, image.bits_allocated // 8)


def _agree(header: Codestream, image: Image) -> None:
    """Refuse a codestream that is another image than the data set says: its size decides what a decoder allocates."""
    if (header.rows, header.columns, header.samples) != (image.rows, image.columns, image.samples_per_pixel):
        raise CannotTranscode("the codestream of the frame and the data set disagree on rows, columns or samples")
    if not 1 <= header.precision <= image.bits_allocated:
        raise CannotTranscode("the codestream of the frame has more bits in a sample than Bits Allocated")


def _is_ybr_jpeg(header: Codestream, image: Image) -> bool:
    if header.lossless_jpeg:
        return False  # process 14 compresses the samples as they are
    return (header.colour or ("YBR" if image.photometric_interpretation.startswith("YBR") else "RGB")) == "YBR"


def _decoded_colour(image: Image) -> str:
    """The Photometric Interpretation of what comes out of any decoder but that of lossy JPEG."""
    if image.photometric_interpretation in _UNTRANSFORMED:
        return "RGB"
    return "YBR_FULL" if image.photometric_interpretation == YBR_FULL_422 else image.photometric_interpretation


def _laid_out(samples: "NDArray[Any]", header: Codestream, image: Image) -> bytes:
    """The decoded samples in cells of Bits Allocated.

    A codestream that says less of the sign than Pixel Representation, as JPEG and JPEG-LS cannot and JPEG 2000 may not,
    holds the bits of two's complement numbers of its precision.
    """
    import numpy

    samples = samples.reshape(image.rows, image.columns, image.samples_per_pixel)
    if samples.dtype.kind not in "iu":
        raise CannotTranscode("the codestream of the frame holds no integers")
    signed = bool(image.pixel_representation)
    if image.bits_allocated == 1:
        return numpy.packbits(samples.reshape(-1), bitorder="little").tobytes()
    cells = samples.astype(f"<{'i' if signed else 'u'}{image.bits_allocated // 8}", copy=False)
    if (samples.dtype.kind == "i") != signed:
        unused = image.bits_allocated - header.precision
        cells = (cells << unused) >> unused
    return (cells.transpose(2, 0, 1) if image.by_plane else cells).tobytes()


# Encoding


def check_encodable(image: Image, target: str) -> None:
    """Raise CannotTranscode for pixels that frames of a transfer syntax cannot hold, before any of them is decoded."""
    if target not in ENCODABLE:
        raise CannotTranscode("there is no encoder for the transfer syntax that was asked for")
    if target == EXPLICIT_LITTLE:
        return
    if image.floating or image.samples_per_pixel not in (1, 3):
        raise CannotTranscode("floating point pixels, or four samples a pixel, are only available uncompressed")
    if target == RLE_LOSSLESS:
        rle_segments(image)
    elif image.bits_allocated == 1:
        raise CannotTranscode("frames of single bits are only available uncompressed or in RLE Lossless")
    elif image.bits_stored > _ENCODERS[target].most_bits[image.samples_per_pixel > 1]:
        raise CannotTranscode(f"samples of {image.bits_stored} bits cannot be encoded in the transfer syntax asked for")


def _encode_j2k(samples: "NDArray[Any]", precision: int, colour: bool) -> bytes:
    import imagecodecs

    return bytes(
        imagecodecs.jpeg2k_encode(
            samples,
            level=0,
            codecformat="J2K",
            reversible=True,
            bitspersample=precision,
            mct=colour,
            planar=False,
            numthreads=1,
        )
    )


def _encode_htj2k(samples: "NDArray[Any]", precision: int, colour: bool) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.htj2k_encode(samples, reversible=True, bitspersample=precision, rgb=colour, planar=False))


def _encode_jpeg_ls(samples: "NDArray[Any]", precision: int, colour: bool) -> bytes:
    import imagecodecs
    import numpy

    precision = max(precision, 2)  # the least that JPEG-LS knows
    if samples.dtype.kind == "i":
        unsigned = numpy.dtype(f"u{samples.dtype.itemsize}")
        samples = samples.view(unsigned) & unsigned.type((1 << precision) - 1)
    return bytes(imagecodecs.jpegls_encode(samples, bitspersample=precision))


@dataclass(frozen=True, slots=True)
class _Encoder:
    """How frames are encoded without loss: what RGB becomes, and the bits of a sample, grey or colour, kept exactly."""

    encode: Callable[["NDArray[Any]", int, bool], bytes]
    colour: str
    most_bits: tuple[int, int]


_ENCODERS: Final = {
    # The colour transform takes a bit more than the samples have, and OpenJPEG goes wrong at 25 (measured).
    JPEG_2000_LOSSLESS: _Encoder(_encode_j2k, "YBR_RCT", (24, 23)),
    HTJ2K_LOSSLESS: _Encoder(_encode_htj2k, "YBR_RCT", (24, 24)),
    JPEG_LS_LOSSLESS: _Encoder(_encode_jpeg_ls, "RGB", (16, 16)),
}

#: Transfer syntaxes that `encode_frame` encodes to; all of them are lossless.
ENCODABLE: Final = frozenset({EXPLICIT_LITTLE, RLE_LOSSLESS, *_ENCODERS})


def encode_frame(frame: Frame, target: str, max_bytes: int) -> bytes:
    """A decoded frame, encoded without loss; work for a thread. What describes it then is `encoded_image`.

    Bits above Bits Stored are no part of the pixels: RLE Lossless keeps them, other encoders do not see them.

    Raises CannotTranscode when there is no encoder, when the encoder cannot hold such pixels, or when the frame takes
    more than `max_bytes` before it is encoded.
    """
    image = frame.image
    check_encodable(image, target)
    if image.frame_bytes > max_bytes:
        raise CannotTranscode(f"the frame is larger than {max_bytes} bytes")
    if target == EXPLICIT_LITTLE:
        return frame.pixels
    try:
        if image.bits_allocated == 1:
            return _encode_bits(frame)
        if target == RLE_LOSSLESS:
            return rle_encode(frame.samples())
        encoder = _ENCODERS[target]
        samples = _in_cells(frame.array(), image.bits_stored)
        return encoder.encode(samples, image.bits_stored, image.photometric_interpretation == "RGB")
    except CannotTranscode:
        raise
    except Exception as error:
        # Encoders are third parties too: what they do not take is not a defect of the service.
        raise CannotTranscode(f"the frame cannot be encoded ({type(error).__name__})") from None


def encoded_image(image: Image, target: str) -> Image:
    """What describes the frames of a decoded image once `encode_frame` has encoded them."""
    if target == EXPLICIT_LITTLE:
        return image
    colour = "YBR_FULL" if image.photometric_interpretation in _FULL_RANGE else image.photometric_interpretation
    if target == RLE_LOSSLESS:
        return replace(image, photometric_interpretation=colour)
    if colour == "RGB":
        colour = _ENCODERS[target].colour
    return replace(image, photometric_interpretation=colour, planar_configuration=0)


def _encode_bits(frame: Frame) -> bytes:
    import imagecodecs

    segment = bytes(imagecodecs.packbits_encode(frame.pixels))
    return rle_frame([segment + b"\0" * (len(segment) % 2)])


def _in_cells(samples: "NDArray[Any]", precision: int) -> "NDArray[Any]":
    """The samples by pixel, in the smallest cells that hold the precision: encoders take no others."""
    import numpy

    size = next(size for size in (1, 2, 4, 8) if precision <= 8 * size)
    return numpy.array(samples, f"{samples.dtype.kind}{size}", order="C")
