"""The transfer syntaxes this service tells apart, by name and in families (PS3.5 §10 and Annex A, PS3.6 Annex A).

Facts
- What differs between the members of a family is how pixels were compressed; the file around them is the same.
- Video is one stream in however many fragments, and its syntaxes may have a suffix that says it is fragmented.

Leaves out which of them can be decoded or encoded (codecs.py) and the media types that name them
(dicomweb/negotiation.py). A transfer syntax that is not here is stored and given as it is.
"""

from typing import Final

#: The edition of the standard that all of this project cites.
EDITION: Final = "2024e"

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
#: Deflated Explicit VR Little Endian: the data set is deflated, behind a File Meta Information that is not.
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
#: Explicit VR Big Endian, retired.
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
#: Deflated Image Frame Compression: every frame is a deflated stream of its own.
DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"

_COMPRESSED: Final = "1.2.840.10008.1.2.4."
JPEG_BASELINE: Final = _COMPRESSED + "50"  # process 1
JPEG_EXTENDED: Final = _COMPRESSED + "51"  # processes 2 and 4
JPEG_SPECTRAL: Final = _COMPRESSED + "53"  # spectral selection, processes 6 and 8; retired
JPEG_PROGRESSIVE: Final = _COMPRESSED + "55"  # full progression, processes 10 and 12; retired
JPEG_LOSSLESS: Final = _COMPRESSED + "57"  # process 14
JPEG_LOSSLESS_FIRST_ORDER: Final = _COMPRESSED + "70"  # process 14, selection value 1
JPEG_LS_LOSSLESS: Final = _COMPRESSED + "80"
JPEG_LS_NEAR_LOSSLESS: Final = _COMPRESSED + "81"
JPEG_2000_LOSSLESS: Final = _COMPRESSED + "90"
HTJ2K_LOSSLESS: Final = _COMPRESSED + "201"

#: Pixel data, once inflated, are the bytes of the pixels (PS3.5 §A.1, §A.2, §A.3, §A.5).
NATIVE: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED})
#: Those of them whose frames are the same bytes in Explicit VR Little Endian.
SAME_FRAMES: Final = NATIVE - {EXPLICIT_BIG}

JPEG: Final = (
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_SPECTRAL,
    JPEG_PROGRESSIVE,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_FIRST_ORDER,
)
JPEG_LS: Final = (JPEG_LS_LOSSLESS, JPEG_LS_NEAR_LOSSLESS)
JPEG_2000: Final = (JPEG_2000_LOSSLESS, _COMPRESSED + "91")
#: Part 2 of JPEG 2000, with transforms between the components.
JPEG_2000_PART_2: Final = (_COMPRESSED + "92", _COMPRESSED + "93")
HTJ2K: Final = (HTJ2K_LOSSLESS, _COMPRESSED + "202", _COMPRESSED + "203")
JPEG_XL: Final = (_COMPRESSED + "110", _COMPRESSED + "111", _COMPRESSED + "112")
MPEG2: Final = tuple(_COMPRESSED + number for number in ("100", "100.1", "101", "101.1"))
#: MPEG-4 AVC/H.264 and HEVC/H.265.
MPEG4: Final = tuple(
    _COMPRESSED + number
    for number in ("102", "102.1", "103", "103.1", "104", "104.1", "105", "105.1", "106", "106.1", "107", "108")
)
VIDEO: Final = frozenset({*MPEG2, *MPEG4})


def ends_with_marker(transfer_syntax: str) -> bool:
    """Whether each image of this syntax ends with a marker: EOI or EOC, as in all the JPEG families."""
    return transfer_syntax.startswith(_COMPRESSED)
