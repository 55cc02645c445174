"""A data set written anew in Explicit VR Little Endian (PS3.5 §7.1.2, §A.2), value by value, as bytes.

    elements_of(Dataset) --> (tag, bytes) of each element, in order

Facts
- Values are not interpreted: what is no number stays as it is. Words of big endian values are turned round (§7.3), and
  elements without a VR get the one of pydicom's dictionary.
- An element whose VR has a 16-bit length and whose value is longer becomes UN (§6.2.2).
- Each element is taken as it was read: a sequence of unknown VR is Implicit VR Little Endian within (§6.2.2).
- Sequences that arrive with a defined length in Explicit VR Little Endian are copied; others are written with one.
- Pixel data within an item (an icon) may be compressed like that of the data set; it is written uncompressed.
- Group Length elements are left out: they are retired (§7.2), and would be wrong.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, cast

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from shared.dicom.byte_order import swapped

#: What the File Meta Information says wrote the file (PS3.10 §7.1); a UUID of this project's (PS3.5 Annex B.2).
IMPLEMENTATION_CLASS: Final = "2.25.27082738907474306433591295040721320576"
IMPLEMENTATION_VERSION: Final = "AZ_DICOMWEB_0_1"

PIXEL_DATA: Final = 0x7FE00010
_UNDEFINED: Final = 0xFFFFFFFF
_LONG: Final = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SEQUENCE_END: Final = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
#: Bytes of one number in values of each VR that a change of byte order turns round (§7.3).
_WORDS: Final = (
    dict.fromkeys("AT OW SS US".split(), 2)
    | dict.fromkeys("FL OF OL SL UL".split(), 4)
    | dict.fromkeys("FD OD OV SV UV".split(), 8)
)
#: How a compressed pixel data element begins: the head with its undefined length.
_COMPRESSED_HEADS: Final = tuple(b"\xe0\x7f\x10\x00" + vr + b"\0\0\xff\xff\xff\xff" for vr in (b"OB", b"OW"))

#: What uncompresses the pixel data of an item; it may change what else the item says of them.
type Decompress = Callable[[Dataset, bytes], bytes]


def elements_of(ds: Dataset, decompress: Decompress, signed: bool = False) -> Iterator[tuple[int, bytes]]:
    """Tag and bytes of each element, in the order of tags; `signed` is what Pixel Representation says further out.

    Give it a data set that was just read: elements that pydicom has already converted are taken for sequences.
    """
    own = stored(ds, 0x00280103)
    if isinstance(own, RawDataElement) and own.value:
        signed = any(own.value)
    if PIXEL_DATA in ds:
        _uncompress(ds, decompress)
    # All at once: when pydicom makes a value of one element it makes one of Pixel Representation too.
    for tag, found in [(tag, stored(ds, tag)) for tag in sorted(ds.keys()) if tag.element]:
        assert found is not None, "it is one of the keys"
        vr = found.VR or _vr_of(ds, tag, found.value, signed)
        if vr == "SQ" and _must_be_parsed(found):
            found = ds[tag]
        if not isinstance(found, RawDataElement):
            items = (
                b"".join(piece for _, piece in elements_of(item, decompress, signed)) for item in found.value or ()
            )
            yield tag, element(tag, "SQ", b"".join(_item(content) for content in items))
            continue
        value = found.value or b""
        if not found.is_little_endian and vr in _WORDS:
            value = value[: len(value) // _WORDS[vr] * _WORDS[vr]]
            value = swapped(value, _WORDS[vr])
        if found.length == _UNDEFINED:
            yield tag, head(tag, vr, None) + value + SEQUENCE_END
        else:
            yield tag, element(tag, vr, value)


def stored(ds: Dataset, tag: int) -> DataElement | RawDataElement | None:
    """An element as it was read, without making a value of it; None when it is not there."""
    return cast(DataElement | RawDataElement, ds.get_item(tag, keep_deferred=True)) if tag in ds else None


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One element of defined length, its value padded to an even number of bytes (§7.1.1)."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    if vr not in _LONG and len(value) > 0xFFFF:
        vr = "UN"
    return head(tag, vr, len(value)) + value


def head(tag: int, vr: str, length: int | None) -> bytes:
    """Tag, VR and length of an element; None is an undefined length."""
    size = _UNDEFINED if length is None else length
    if vr in _LONG:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, size)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), size)


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _must_be_parsed(found: object) -> bool:
    """Whether a sequence that is still bytes cannot be copied: other encoding, or compressed pixel data within."""
    if not isinstance(found, RawDataElement):
        return False
    foreign = found.is_implicit_VR or not found.is_little_endian
    return foreign or any(compressed in (found.value or b"") for compressed in _COMPRESSED_HEADS)


def _uncompress(ds: Dataset, decompress: Decompress) -> None:
    found = stored(ds, PIXEL_DATA)
    if isinstance(found, RawDataElement) and found.length == _UNDEFINED and found.value:
        value = decompress(ds, found.value)
        ds[PIXEL_DATA] = RawDataElement(BaseTag(PIXEL_DATA), "OB", len(value), value, 0, False, True)


def _vr_of(ds: Dataset, tag: BaseTag, value: bytes | None, signed: bool) -> str:
    """The VR of an element that came without one (§6.2, §A.1); UN where nobody knows it (§6.2.2)."""
    try:
        if tag.is_private_creator:
            return "LO"
        vr = private_dictionary_VR(tag, _creator_of(ds, tag)) if tag.is_private else dictionary_VR(tag)
    except KeyError:
        return "UN"
    if " or " not in vr:
        return vr
    if "OW" in vr:  # a lookup table, or bytes: a single number is a descriptor's (PS3.6 Table 6-1)
        return "US" if vr.startswith("US") and len(value or b"") <= 2 else "OW"
    return "SS" if signed else "US"


def _creator_of(ds: Dataset, tag: BaseTag) -> str:
    """Who reserved the block of a private tag (§7.8.1); empty when nobody did."""
    found = stored(ds, tag.group << 16 | tag.element >> 8) if tag.element & 0xFF00 else None
    value = found.value if isinstance(found, RawDataElement) else b""
    return (value or b"").decode("ascii", "replace").strip(" \0")
