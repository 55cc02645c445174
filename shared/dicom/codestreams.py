"""What the headers of compressed frames say of the image, read before a decoder allocates memory for it.

JPEG (ISO/IEC 10918-1 Annex B), JPEG-LS (ISO/IEC 14495-1 Annex C), JPEG 2000 and High-Throughput JPEG 2000 (ISO/IEC
15444-1 Annex A, 15444-15). Decides nothing but what a header means, and refuses those that would make a decoder
allocate, or work, out of proportion to the image. Leaves out the compressed data: that is the decoder's.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.errors import CannotTranscode

_SOI: Final = b"\xff\xd8"
_APP0, _APP14 = 0xE0, 0xEE
_JPEG_LS_FRAME: Final = 0xF7
#: Start of Frame: baseline, extended sequential, progressive, lossless, each with Huffman coding; and of JPEG-LS.
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, _JPEG_LS_FRAME})
_LOSSLESS: Final = 0xC3
#: Start of Frame of processes no decoder here knows: hierarchical, arithmetic coding.
_OTHER_FRAMES: Final = frozenset({0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN: Final = b"\xff\xda"
_END_OF_IMAGE: Final = b"\xff\xd9"
#: Bytes of padding that writers leave behind the end of an image.
_MOST_PADDING: Final = 16
#: Scans of one JPEG frame: a decoder goes over the whole image for each, whether or not there are bytes for it.
MAX_SCANS: Final = 64

#: Markers, tile-parts or boxes of one frame that are walked over in search of its headers, a tenth of a second.
MAX_MARKERS: Final = 131_072

_SOC_SIZ: Final = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
_COD, _COC, _SOT, _SOD = 0xFF52, 0xFF53, 0xFF90, 0xFF93
_PRECINCTS_FOLLOW: Final = 0x01  # Scod and Scoc, bit 0
#: Tiles of one codestream: a decoder keeps some kilobytes for each before it has read any of it.
MAX_TILES: Final = 4096
#: Precincts that any codestream may have, and samples to a precinct that more of them need: a decoder keeps one to two
#: kilobytes for each.
FEW_PRECINCTS: Final = 16384
SAMPLES_PER_PRECINCT: Final = 512
#: Packets of one codestream, one for each layer of each precinct of each component: a decoder visits every one of them,
#: whether or not there are bytes for it, some ten million in a second.
MAX_PACKETS: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Codestream:
    """What one codestream says of its image. `precision` is bits of a sample.

    `lossless_jpeg` is true for process 14. `colour` is what JPEG's own markers say of three samples, "RGB" or "YBR",
    or None when they say nothing.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False
    lossless_jpeg: bool = False
    colour: str | None = None


def jpeg_header(frame: bytes, *, jpeg_ls: bool) -> Codestream:
    """The header of a JPEG or JPEG-LS frame.

    Raises CannotTranscode when it is none, when there is no decoder for its process, when it is cut short (decoders
    would make up the rest of the image) or when it has too many scans.
    """
    if not frame.startswith(_SOI):
        raise _broken()
    if frame.rfind(_END_OF_IMAGE) < len(frame) - len(_END_OF_IMAGE) - _MOST_PADDING:
        raise CannotTranscode("the frame cannot be decoded: its codestream is cut short")
    if frame.count(_START_OF_SCAN) > MAX_SCANS:
        raise CannotTranscode(f"the frame is made of more than {MAX_SCANS} scans")
    adobe: int | None = None
    jfif = False
    for marker, start, end in _segments(frame):
        if marker == _APP0 and frame[start : start + 5] == b"JFIF\0":
            jfif = True
        elif marker == _APP14 and frame[start : start + 5] == b"Adobe" and end - start >= 12:
            adobe = frame[start + 11]
        elif marker in _FRAMES:
            if (marker == _JPEG_LS_FRAME) != jpeg_ls or end - start < 6:
                raise _broken()
            precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, start)
            ids = frame[start + 6 : end : 3]
            return Codestream(
                rows, columns, samples, precision, lossless_jpeg=marker == _LOSSLESS, colour=_colour(adobe, jfif, ids)
            )
        elif marker in _OTHER_FRAMES:
            raise CannotTranscode("there is no decoder for the JPEG process of the frame")
    raise _broken()


def _colour(adobe: int | None, jfif: bool, ids: bytes) -> str | None:
    """What the markers say: Adobe's transform (ITU-T T.872 §6.5.3), JFIF (T.871), components called R, G and B."""
    if adobe is not None:
        return "YBR" if adobe == 1 else "RGB"
    if ids in (b"RGB", b"rgb"):
        return "RGB"
    return "YBR" if jfif else None


def _segments(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the value of each marker segment, from the one behind SOI."""
    at = len(_SOI)
    for _ in range(MAX_MARKERS):
        at = frame.find(b"\xff", at)
        if at < 0 or at + 4 > len(frame):
            return
        marker = frame[at + 1]
        if marker in (0x00, 0xFF) or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", frame, at + 2)
        if length < 2 or at + 2 + length > len(frame):
            return
        yield marker, at + 4, at + 2 + length
        at += 2 + length
    raise _too_many_markers()


def j2k_codestream(frame: bytes) -> bytes:
    """A JPEG 2000 codestream out of the JP2 file that some writers wrap it in, against PS3.5 §A.4.4."""
    if not frame.startswith(_JP2_SIGNATURE):
        return frame
    at = 0
    for _ in range(MAX_MARKERS):
        if at + 8 > len(frame):
            break
        length, kind = struct.unpack_from(">I4s", frame, at)
        head = 8
        if length == 1 and at + 16 <= len(frame):
            (length,) = struct.unpack_from(">Q", frame, at + 8)
            head = 16
        end = len(frame) if length == 0 else at + length
        if end < at + head:
            break
        if kind == b"jp2c":
            return frame[at + head : end]
        at = end
    raise _broken()


def j2k_header(codestream: bytes) -> Codestream:
    """The header of a JPEG 2000 or HTJ2K codestream (ISO/IEC 15444-1 §A.5.1).

    Raises CannotTranscode when it is none, when its components are not alike or subsampled, or when its tiles,
    precincts or packets are too many.
    """
    if not codestream.startswith(_SOC_SIZ) or len(codestream) < 42:
        raise _broken()
    _, _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = struct.unpack_from(
        ">HHIIIIIIIIH", codestream, 4
    )
    components = codestream[42 : 42 + 3 * samples]
    if right <= left or bottom <= top or not tile_width or not tile_height or tile_left > left or tile_top > top:
        raise _broken()
    if not samples or components != bytes((components[0], 1, 1)) * samples:
        raise CannotTranscode("JPEG 2000 components of different depths or sizes cannot be decoded")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MAX_TILES:
        raise CannotTranscode(f"the frame is made of more than {MAX_TILES} tiles")
    _check_packets(codestream, right - left, bottom - top, samples, tiles)
    depth = components[0]
    return Codestream(bottom - top, right - left, samples, (depth & 0x7F) + 1, signed=bool(depth & 0x80))


def _check_packets(codestream: bytes, columns: int, rows: int, samples: int, tiles: int) -> None:
    """Refuse too many precincts or packets, wherever a header declares them: the main one or that of a tile-part."""
    at, tile_part, layers = 2, 0, 1
    for _ in range(MAX_MARKERS):
        if at + 4 > len(codestream):
            return
        marker, length = struct.unpack_from(">HH", codestream, at)
        if marker == _SOD:
            if tile_part <= at:  # Psot of 0: the tile-part goes on to the end
                return
            at = tile_part
            continue
        if marker < 0xFF00 or length < 2:
            return
        value = codestream[at + 4 : at + 2 + length]
        if marker == _SOT and len(value) >= 6:
            (size,) = struct.unpack_from(">I", value, 2)
            tile_part = at + size if size else 0
        elif marker == _COD and len(value) >= 10:
            (layers,) = struct.unpack_from(">H", value, 2)
            sizes = _precinct_sizes(value[0], value[5:])
            _check_sizes(sizes, columns, rows, tiles, samples * layers)
        elif marker == _COC and len(value) >= 8:
            style = value[1 if samples < 257 else 2 :]  # behind the number of the component
            _check_sizes(_precinct_sizes(style[0], style[1:]), columns, rows, tiles, samples * layers)
        at += 2 + length
    raise _too_many_markers()


def _precinct_sizes(style: int, parameters: bytes) -> bytes:
    """A byte for each resolution, from the lowest: height and width of its precincts as powers of two (§A.6.1)."""
    return parameters[5:] if style & _PRECINCTS_FOLLOW else b"\xff" * (parameters[0] + 1)


def _check_sizes(sizes: bytes, columns: int, rows: int, tiles: int, packets: int) -> None:
    """`packets` are those of one precinct, of all components and layers."""
    precincts = 0
    for halved, size in enumerate(reversed(sizes)):
        across = (columns >> halved >> (size & 0xF)) + 1
        down = (rows >> halved >> (size >> 4)) + 1
        precincts += across * down
    if precincts > max(FEW_PRECINCTS, columns * rows // SAMPLES_PER_PRECINCT):
        raise CannotTranscode("the frame is made of too many precincts")
    if (precincts + tiles * len(sizes)) * packets > MAX_PACKETS:
        raise CannotTranscode("the frame is made of too many packets")


def _too_many_markers() -> CannotTranscode:
    return CannotTranscode(f"the frame has more than {MAX_MARKERS} markers")


def _broken() -> CannotTranscode:
    return CannotTranscode("the frame cannot be decoded: its codestream has no readable header")
