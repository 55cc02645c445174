"""A whole instance in another transfer syntax, without ever holding its pixel data (PS3.5 Annex A, PS3.10 §7).

Decides which transfer syntax can be turned into which, and plans the file that is sent:

    before   preamble, file meta, data set up to the pixel data, head of the pixel data
    frames   one after the other, as `convert` makes them and `Joiner` frames them
    after    padding or delimiter, and the elements behind the pixel data

Facts
- Native pixel data that stay native are copied as they are, or in turned words: no frame is decoded.
- Each frame becomes one fragment; the Basic Offset Table is empty, since nothing is known of frames to come (§A.4).
- Photometric Interpretation and Planar Configuration are what the first frame was decoded to; all others must be alike.
- Extended Offset Tables are left out when frames change. Attributes that tell of lossy compression are kept: decoding
  does not bring back what was lost (PS3.3 §C.7.6.1.1.5).
- An instance without pixel data gets the transfer syntax that was asked for: all of them write such a data set as
  Explicit VR Little Endian does.

Leaves out reading and sending (services/transcoding.py), and codecs (codecs.py).
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, Final

from pydicom import Dataset
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from shared.dicom.bulk import PixelElement
from shared.dicom.byte_order import swapped
from shared.dicom.codecs import (
    DECODABLE,
    ENCODABLE,
    check_encodable,
    decode_frame,
    encode_frame,
    encoded_image,
    word_of,
)
from shared.dicom.deflated import data_set_start
from shared.dicom.explicit import (
    IMPLEMENTATION_CLASS,
    IMPLEMENTATION_VERSION,
    SEQUENCE_END,
    Decompress,
    element,
    elements_of,
    head,
    stored,
)
from shared.dicom.image import Frame, Image, image_of
from shared.dicom.syntaxes import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, NATIVE, RLE_LOSSLESS, VIDEO
from shared.errors import CannotTranscode, MalformedDicom
from shared.model import JsonDataSet

_ITEM: Final = struct.Struct("<HHI")
_ITEM_TAG: Final = (0xFFFE, 0xE000)
_PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280004, 0x00280006, 0x00280008
#: Extended Offset Table, its lengths, and Encapsulated Pixel Data Value Total Length (PS3.3 §C.7.6.3.1.8).
_TABLES: Final = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
#: The attributes that `image_of` reads.
_IMAGE: Final = (0x00280002, _PHOTOMETRIC, _PLANAR, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280103)
_MOST_NATIVE: Final = 0xFFFFFFFE  # the greatest even length of 32 bits
#: Bytes of an icon when it is decoded: at most 128 x 128 pixels by PS3.3 §C.7.6.1.1.6.
_ICON_BYTES: Final = 4 * 1024 * 1024


def can_transcode(source: str, target: str) -> bool:
    """Whether pixel data of one transfer syntax can be delivered in another."""
    return why_not(source, target) is None


def why_not(source: str, target: str) -> str | None:
    """Why pixel data of one transfer syntax cannot be delivered in another; None when they can."""
    if source == target:
        return None
    if source in VIDEO:
        return "video is only available as stored"
    if source not in DECODABLE:
        return f"there is no decoder for transfer syntax {source}"
    if target not in ENCODABLE:
        return f"there is no encoder for transfer syntax {target}"
    return None


def needs_first(source: str, target: str, pixels: PixelElement) -> bool:
    """Whether `plan_file` wants the first frame decoded; else the value of the pixel data is copied."""
    return pixels.encapsulated or source not in NATIVE or target != EXPLICIT_LITTLE


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What is sent before and behind the frames, and how each of them is turned.

    `length` is that of the whole file in bytes, None where it depends on frames not yet encoded. `image` is that of
    the stored frames and `decoded` that of the decoded ones; both None where no frame is decoded. `word` is the bytes
    of the words to turn round where the value is copied, else 0; `frame_bits` the bits of a native frame; the value is
    made of fragments when `encapsulated`.
    """

    transfer_syntax: str
    source: str
    before: bytes = b""
    after: bytes = b""
    length: int | None = None
    pixel_vr: str = "OB"
    image: Image | None = None
    decoded: Image | None = None
    word: int = 0
    frame_bits: int = 0
    encapsulated: bool = False

    @property
    def copied(self) -> bool:
        """Whether the native value goes through the joiner as it is stored, in pieces of any size."""
        return self.word > 0

    def joiner(self) -> "Joiner":
        """What frames, or pieces of a copied value, are put through, in their order."""
        return Joiner(self)

    def convert(self, stored: bytes, max_bytes: int) -> bytes:
        """One stored frame decoded and encoded; work for a thread.

        Raises CannotTranscode when that cannot be done within `max_bytes`, or when the frame is not like the first.
        """
        assert self.image is not None, "nothing is converted where the value is copied"
        return self.encode(decode_frame(stored, self.source, self.image, max_bytes, vr=self.pixel_vr), max_bytes)

    def encode(self, frame: Frame, max_bytes: int) -> bytes:
        """The same for a frame that has been decoded already."""
        if frame.image != self.decoded:
            raise CannotTranscode("the frames of the instance decode to different kinds of pixels")
        return encode_frame(frame, self.transfer_syntax, max_bytes)


class Joiner:
    """Makes the value of the pixel data of frames, or of pieces of it."""

    def __init__(self, plan: FilePlan) -> None:
        self._plan = plan
        self._length = 0
        self._held = b""  # part of a word that is to be turned round
        self._bits = 0  # bits of frames that do not end with a byte, and their number
        self._count = 0

    def feed(self, data: bytes) -> bytes:
        """What to send for the next frame or piece."""
        plan = self._plan
        if plan.encapsulated:
            data += b"\0" * (len(data) % 2)
            return _ITEM.pack(*_ITEM_TAG, len(data)) + data
        if plan.word > 1:
            data = self._held + data
            whole = len(data) // plan.word * plan.word
            data, self._held = swapped(data[:whole], plan.word), data[whole:]
        elif plan.frame_bits % 8:
            data = self._packed(data)
        self._length += len(data)
        return data

    def finish(self) -> bytes:
        """What to send after the last frame or piece: to the end of the file."""
        if self._plan.encapsulated:
            return SEQUENCE_END + self._plan.after
        rest = self._held + self._bits.to_bytes((self._count + 7) // 8, "little")
        padding = b"\0" * ((self._length + len(rest)) % 2)
        return rest + padding + self._plan.after

    def _packed(self, frame: bytes) -> bytes:
        """The next frame of bits behind those before it (PS3.5 §8.1.1), as far as that fills bytes."""
        bits = self._plan.frame_bits
        own = int.from_bytes(frame, "little") & ((1 << bits) - 1)
        self._bits |= own << self._count
        self._count += bits
        whole, self._count = divmod(self._count, 8)
        packed = (self._bits & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
        self._bits >>= 8 * whole
        return packed


def plan_file(
    rest: bytes, source: str, target: str, pixels: PixelElement | None, frames: int, first: Frame | None
) -> FilePlan:
    """Plan one file.

    `rest` is the stored file, inflated where that was deflated, without its top-level pixel data element `pixels`;
    `frames` is how many there are, and `first` the first of them, decoded, where `needs_first` wants it.

    Raises CannotTranscode when the file cannot be read or cannot be had in the target; once there is a plan only a
    broken frame further on can still fail.
    """
    reason = why_not(source, target)
    if reason:
        raise CannotTranscode(reason)
    try:
        start = data_set_start(rest)
        ds = read_dataset(BytesIO(rest[start:]), source == IMPLICIT_LITTLE, source != EXPLICIT_BIG)
        if pixels is None:
            value = _Value(0, b"", 0, FilePlan(target, source))
        elif first is None:
            value = _copied(ds, source, target, pixels)
        else:
            value = _converted(ds, source, target, pixels, frames, first)
        return _around(value, _file_meta(rest[132:start], target), elements_of(ds, _icon_decoder(source)))
    except CannotTranscode:
        raise
    except MalformedDicom as error:
        raise CannotTranscode(str(error)) from None
    except Exception as error:
        # Third-party readers raise anything, and their texts may quote values.
        raise CannotTranscode(f"the instance cannot be transcoded ({type(error).__name__})") from None


@dataclass(frozen=True, slots=True)
class _Value:
    """The pixel data element of the new file: its tag and opening bytes, the length of its value, and the plan so far.

    `length` is None for fragments; `changes` are elements to put in place of those that were stored.
    """

    tag: int
    opening: bytes
    length: int | None
    plan: FilePlan
    changes: Mapping[int, bytes] = field(default_factory=dict)


def _copied(ds: Dataset, source: str, target: str, pixels: PixelElement) -> _Value:
    """Native pixel data that stay native: only the order of bytes may change."""
    word = word_of(image_of(_attributes(ds)), pixels.vr) if source == EXPLICIT_BIG else 1
    length = _even(pixels.length)
    tag, vr = int(pixels.tag, 16), "OW" if pixels.vr == "UN" else pixels.vr
    return _Value(tag, head(tag, vr, length), length, FilePlan(target, source, word=word))


def _converted(ds: Dataset, source: str, target: str, pixels: PixelElement, frames: int, first: Frame) -> _Value:
    """Pixel data whose frames are decoded and encoded one by one."""
    if frames != _number_of_frames(ds):
        raise CannotTranscode("the instance does not hold as many frames as it declares")
    check_encodable(first.image, target)
    if target not in (EXPLICIT_LITTLE, RLE_LOSSLESS) and _has_overlay_in_pixels(ds):
        raise CannotTranscode("an overlay lies in the unused bits of the pixels, which are not compressed with them")
    sent = encoded_image(first.image, target)
    changes = {_PHOTOMETRIC: element(_PHOTOMETRIC, "CS", sent.photometric_interpretation.encode("ascii"))}
    if sent.samples_per_pixel > 1:
        changes[_PLANAR] = element(_PLANAR, "US", struct.pack("<H", sent.planar_configuration))
    tag = int(pixels.tag, 16)
    native = target == EXPLICIT_LITTLE
    length = _even((sent.frame_bits * frames + 7) // 8) if native else None
    if length is not None and length > _MOST_NATIVE:
        raise CannotTranscode("the instance is larger than 4 GiB when it is decoded")
    # No fragment is preceded by a table of offsets: an empty item stands for it.
    opening = head(tag, _native_vr(sent), length) if native else head(tag, "OB", None) + _ITEM.pack(*_ITEM_TAG, 0)
    plan = FilePlan(
        target,
        source,
        pixel_vr=pixels.vr,
        image=image_of(_attributes(ds)),
        decoded=first.image,
        frame_bits=sent.frame_bits,
        encapsulated=not native,
    )
    return _Value(tag, opening, length, plan, changes)


def _around(value: _Value, meta: bytes, elements: Iterator[tuple[int, bytes]]) -> FilePlan:
    """The plan with everything that comes before and behind the pixel data."""
    before = [bytes(128), b"DICM", meta]
    after: list[bytes] = []
    changes = dict(value.changes)
    for tag, content in elements:
        if tag in _TABLES and not value.plan.copied:
            continue
        # What is changed and was not there, such as Planar Configuration, goes to its place among the tags.
        before += [changes.pop(missing) for missing in sorted(changes) if missing < tag]
        (before if tag < value.tag or not value.tag else after).append(changes.pop(tag, content))
    before += [*changes.values(), value.opening]
    opening, closing = b"".join(before), b"".join(after)
    length = None if value.length is None else len(opening) + value.length + len(closing)
    return replace(value.plan, before=opening, after=closing, length=length)


def _file_meta(written: bytes, transfer_syntax: str) -> bytes:
    """The File Meta Information of the new file (PS3.10 §7.1): what was stored, but ours who wrote it.

    The preamble is not kept: where it made the file one of another format too, such as TIFF, that would no longer hold.
    """
    ds = read_dataset(BytesIO(written), False, True)
    found = dict(elements_of(ds, _icon_decoder(EXPLICIT_LITTLE)))
    found[0x00020001] = element(0x00020001, "OB", b"\0\1")
    found[0x00020010] = element(0x00020010, "UI", transfer_syntax.encode("ascii"))
    found[0x00020012] = element(0x00020012, "UI", IMPLEMENTATION_CLASS.encode("ascii"))
    found[0x00020013] = element(0x00020013, "SH", IMPLEMENTATION_VERSION.encode("ascii"))
    group = b"".join(found[tag] for tag in sorted(found))
    return element(0x00020000, "UL", struct.pack("<I", len(group))) + group


def _icon_decoder(source: str) -> Decompress:
    """What uncompresses the pixel data of an item, an icon's (PS3.3 §C.7.6.1.1.6), and describes it anew."""

    def decompress(item: Dataset, value: bytes) -> bytes:
        frame = next(generate_frames(value, number_of_frames=1))
        decoded = decode_frame(frame, source, image_of(_attributes(item)), _ICON_BYTES)
        colour = decoded.image.photometric_interpretation.encode("ascii")
        item[_PHOTOMETRIC] = RawDataElement(BaseTag(_PHOTOMETRIC), "CS", len(colour), colour, 0, False, True)
        return decoded.pixels

    return decompress


def _attributes(ds: Dataset) -> JsonDataSet:
    """The elements that describe an image, as `image_of` reads them; the data set stays as it was read."""
    values: dict[str, dict[str, list[Any]]] = {}
    for tag in _IMAGE:
        found = _value(ds, tag)
        if found not in (None, ""):
            values[f"{tag:08X}"] = {"Value": [found]}
    return values


def _number_of_frames(ds: Dataset) -> int:
    """Number of Frames, or 1 where it is no number: as frames are counted when an instance is stored (frames.py)."""
    declared = _value(ds, _FRAMES)
    return int(declared) if isinstance(declared, int) and declared > 0 else 1


def _value(ds: Dataset, tag: int) -> Any:
    """The value of a single-valued element; None when it is not there."""
    found = stored(ds, tag)
    if isinstance(found, RawDataElement):
        found = convert_raw_data_element(found)
    return found.value if found is not None else None


def _has_overlay_in_pixels(ds: Dataset) -> bool:
    """Whether an overlay has no data of its own but bits above those of the pixels (retired, PS3.3 §C.9.2)."""
    groups = range(0x6000, 0x6020, 2)
    return any(_value(ds, group << 16 | 0x0102) and (group << 16 | 0x3000) not in ds for group in groups)


def _native_vr(image: Image) -> str:
    """The VR of native pixel data (PS3.5 §A.2); floats are never compressed, so they do not come here."""
    return "OW" if image.bits_allocated > 8 else "OB"


def _even(length: int) -> int:
    return length + length % 2
