"""Retrieving instances and frames, as stored and transcoded, compared with what pydicom makes of the same files."""

import random
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from shared.dicom.codecs import decode_frame
from shared.dicom.deflated import RangeInflater
from shared.dicom.image import image_of
from shared.dicomweb.negotiation import Resource
from shared.errors import CannotTranscode, NotFound
from shared.model import InstanceKey, Scope
from shared.services.pixels import PixelReader
from shared.services.retrieve import RetrieveService
from shared.services.transcoding import Transcoder
from shared.storage import keys
from tests.builders import INSTANCE, SERIES, STUDY, encapsulated, instance
from tests.services.conftest import MIB, Services, choosing, scope_of

EXPLICIT = "1.2.840.10008.1.2.1"
MPEG2 = "1.2.840.10008.1.2.4.100"
TARGETS = ["1.2.840.10008.1.2.5", *(f"1.2.840.10008.1.2.4.{number}" for number in ("80", "90", "201"))]


def sample(name: str) -> bytes:
    """One of the files that come with pydicom."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} comes with pydicom"
    with open(path, "rb") as opened:
        return opened.read()


def parsed(file: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(file))


def decoded(data_set: Dataset) -> list[bytes]:
    """The frames as pydicom decodes them, samples of one pixel next to each other."""
    decoder = get_decoder(data_set.file_meta.TransferSyntaxUID)
    frames = []
    for index in range(int(data_set.get("NumberOfFrames") or 1)):
        buffer, about = decoder.as_buffer(data_set, index=index)
        frame = bytes(buffer)
        samples = about["samples_per_pixel"]
        if samples > 1 and about["planar_configuration"] == 1 and data_set.PlanarConfiguration == 0:
            width, plane = about["bits_allocated"] // 8, len(frame) // samples
            frame = b"".join(
                frame[sample * plane + at : sample * plane + at + width]
                for at in range(0, plane, width)
                for sample in range(samples)
            )
        frames.append(frame)
    return frames


DECODABLE = [
    "MR_small_RLE.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_rle_32bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "rtdose_rle.dcm",
    "rtdose_rle_1frame.dcm",
    "MR_small_implicit.dcm",
    "rtdose.dcm",
    "image_dfl.dcm",
]

#: Files in big endian, and the same images in little endian.
BIG_ENDIAN = {
    "MR_small_expb.dcm": "MR_small.dcm",
    "MR_small_bigendian.dcm": "MR_small.dcm",
    "rtdose_expb.dcm": "rtdose.dcm",
    "rtdose_expb_1frame.dcm": "rtdose_1frame.dcm",
}


@pytest.mark.parametrize("name", DECODABLE)
async def test_frames_are_decoded_as_pydicom_decodes_them(services: Services, name: str) -> None:
    (key,) = await services.put_well(sample(name))
    expected = decoded(parsed(sample(name)))
    numbers = range(1, len(expected) + 1)
    assert await services.frames(key, *numbers, transfer_syntax=EXPLICIT) == expected


@pytest.mark.parametrize("name", BIG_ENDIAN)
async def test_frames_in_big_endian_are_turned_round(services: Services, name: str) -> None:
    (key,) = await services.put_well(sample(name))
    expected = decoded(parsed(sample(BIG_ENDIAN[name])))
    numbers = range(1, len(expected) + 1)
    assert await services.frames(key, *numbers, transfer_syntax=EXPLICIT) == expected


@pytest.mark.parametrize("name", [*DECODABLE, *BIG_ENDIAN, "liver_expb_1frame.dcm", "SC_rgb_small_odd_big_endian.dcm"])
async def test_whole_instances_are_transcoded_to_explicit_little_endian(services: Services, name: str) -> None:
    (key,) = await services.put_well(sample(name))
    ((syntax, file),) = await services.files(scope_of(key), EXPLICIT)
    before, after = parsed(sample(name)), parsed(file)
    assert (syntax, after.file_meta.TransferSyntaxUID) == (EXPLICIT, EXPLICIT)
    little = {**BIG_ENDIAN, "liver_expb_1frame.dcm": "liver_1frame.dcm"}
    little["SC_rgb_small_odd_big_endian.dcm"] = "SC_rgb_small_odd.dcm"
    expected = b"".join(decoded(parsed(sample(little.get(name, name)))))
    assert after.PixelData.rstrip(b"\0") == expected.rstrip(b"\0")
    assert len(after.PixelData) == len(expected) + len(expected) % 2
    for data_set in (before, after):
        del data_set.PixelData
    assert before == after
    assert before.file_meta.MediaStorageSOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID


async def test_what_no_codec_decodes_is_only_available_as_stored(services: Services) -> None:
    file = encapsulated([[b"\0\0\1\xb3video"]], transfer_syntax=MPEG2)
    (key,) = await services.put_well(file)
    for scope in (scope_of(key), Scope(key.study, key.series), Scope(key.study)):
        assert await services.files(scope) == [(MPEG2, file)]
        with pytest.raises(CannotTranscode, match=MPEG2):
            await services.files(scope, EXPLICIT)
    with pytest.raises(CannotTranscode, match=MPEG2):
        await services.frames(key, 1, transfer_syntax=EXPLICIT)
    assert len(await services.frames(key, 1)) == 1


async def test_a_study_in_one_transfer_syntax_is_transcoded_instance_by_instance(services: Services) -> None:
    files = {name: sample(name) for name in ("MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small.dcm")}
    for number, name in enumerate(files):
        data_set = parsed(files[name])
        data_set.StudyInstanceUID, data_set.SOPInstanceUID = STUDY, f"{INSTANCE}.{number}"
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        made = BytesIO()
        data_set.save_as(made, enforce_file_format=True)
        files[name] = made.getvalue()
    await services.put_well(*files.values())
    found = await services.files(Scope(STUDY), EXPLICIT)
    assert [syntax for syntax, _ in found] == [EXPLICIT] * 3
    pixels = parsed(files["MR_small.dcm"]).PixelData
    assert [parsed(file).PixelData for _, file in found] == [pixels] * 3
    assert files["MR_small.dcm"] in [file for _, file in found]
    as_stored = await services.files(Scope(STUDY))
    assert {file for _, file in as_stored} == set(files.values())

    # One instance that cannot be had in that syntax refuses the whole.
    await services.put_well(encapsulated([[b"\0\0\1\xb3video"]], transfer_syntax=MPEG2))
    with pytest.raises(CannotTranscode, match=MPEG2):
        await services.files(Scope(STUDY), EXPLICIT)
    assert len(await services.files(Scope(STUDY))) == 4


def limit(services: Services, size: int) -> None:
    """From now on nothing larger than so many bytes is held for transcoding."""
    pixels = PixelReader(services.archive, size, services.pixels.parsing)
    services.retrieve = RetrieveService(pixels, Transcoder(pixels))


async def test_a_file_over_the_limit_is_transcoded_when_its_frames_are_not(services: Services) -> None:
    frames = [random.Random(number).randbytes(250 * 1000) for number in range(8)]
    file = instance(rows=250, columns=1000, frames=8, PixelData=b"".join(frames), transfer_syntax="1.2.840.10008.1.2")
    (key,) = await services.put_well(file)
    limit(services, MIB)
    for target in (EXPLICIT, *TARGETS):
        ((syntax, made),) = await services.files(scope_of(key), target)
        assert syntax == target
        assert pydicom_frames(made) == frames
    assert await services.frames(key, 8, 1, transfer_syntax=EXPLICIT) == [frames[7], frames[0]]


def pydicom_frames(file: bytes) -> list[bytes]:
    """The frames as they are native again; what pydicom cannot decode without help the service's own codecs do."""
    read = parsed(file)
    syntax = str(read.file_meta.TransferSyntaxUID)
    if syntax == EXPLICIT:
        size = len(read.PixelData) // int(read.NumberOfFrames)
        return [read.PixelData[at : at + size] for at in range(0, len(read.PixelData), size)]
    image = image_of(read.to_json_dict(bulk_data_threshold=0, bulk_data_element_handler=lambda _: "elsewhere"))
    encoded = generate_frames(read.PixelData, number_of_frames=int(read.NumberOfFrames))
    return [decode_frame(frame, syntax, image, MIB).pixels for frame in encoded]


async def test_a_frame_over_the_limit_is_there_as_stored(services: Services) -> None:
    file = instance(rows=1024, columns=1024)
    (key,) = await services.put_well(file)
    limit(services, MIB // 2)
    with pytest.raises(CannotTranscode, match=str(MIB // 2)):
        await services.files(Scope(STUDY), TARGETS[0])
    with pytest.raises(CannotTranscode, match=str(MIB // 2)):
        await services.frames(key, 1, transfer_syntax="1.2.840.10008.1.2.4.90")
    assert await services.files(Scope(STUDY)) == [(EXPLICIT, file)]


async def test_a_file_whose_other_elements_are_over_the_limit_is_there_as_stored(services: Services) -> None:
    implicit = "1.2.840.10008.1.2"
    file = instance(transfer_syntax=implicit, ICCProfile=bytes(MIB))
    await services.put_well(file)
    limit(services, MIB // 2)
    with pytest.raises(CannotTranscode, match=str(MIB // 2)):
        await services.files(Scope(STUDY), EXPLICIT)
    assert await services.files(Scope(STUDY)) == [(implicit, file)]


async def test_a_broken_codestream_is_refused_before_anything_is_sent(services: Services) -> None:
    file = encapsulated([[b"no RLE header"]], transfer_syntax=RLELossless)
    (key,) = await services.put_well(file)
    frames = await services.retrieve.frames(key, choosing(Resource.FRAMES, EXPLICIT))
    with pytest.raises(CannotTranscode):
        await frames.made(1)
    parts = await services.retrieve.instances(scope_of(key), choosing(Resource.STUDY, EXPLICIT), certain=False)
    with pytest.raises(CannotTranscode):
        await anext(parts)
    assert await services.files(scope_of(key)) == [(RLELossless, file)]


async def test_a_broken_codestream_among_others_is_sent_as_stored(services: Services) -> None:
    whole = sample("MR_small_RLE.dcm")
    read = parsed(whole)
    read.StudyInstanceUID, read.SeriesInstanceUID = STUDY, f"{STUDY}.0"
    made = BytesIO()
    read.save_as(made)
    broken = encapsulated([[b"no RLE header"]], transfer_syntax=RLELossless)
    await services.put_well(made.getvalue(), broken)
    found = [(syntax, parsed(file).SeriesInstanceUID) for syntax, file in await services.files(Scope(STUDY), EXPLICIT)]
    assert found == [(EXPLICIT, f"{STUDY}.0"), (RLELossless, SERIES)]


@pytest.mark.parametrize(
    "scope", [Scope("1.9"), Scope(STUDY, "1.9"), Scope(STUDY, SERIES, "1.9"), Scope(STUDY, "1.9", INSTANCE)]
)
async def test_what_is_not_there_is_not_found(services: Services, scope: Scope) -> None:
    await services.put_well(instance())
    with pytest.raises(NotFound):
        await services.files(scope)
    with pytest.raises(NotFound):
        await services.files(scope, EXPLICIT)
    with pytest.raises(NotFound):
        await services.metadata(scope)


# Frames


def frames_of(count: int) -> list[bytes]:
    return [bytes([number]) * 24 for number in range(1, count + 1)]


async def test_frames_come_in_the_order_asked_for_and_as_often(services: Services) -> None:
    expected = frames_of(9)
    (key,) = await services.put_well(instance(frames=9, PixelData=b"".join(expected)))
    asked = [3, 1, 9, 3, 3, 2, 1]
    assert await services.frames(key, *asked) == [expected[number - 1] for number in asked]


async def test_each_frame_is_one_read_of_its_own_bytes(services: Services) -> None:
    (key,) = await services.put_well(instance(frames=9, PixelData=b"".join(frames_of(9))))
    services.bench.calls.clear()
    await services.frames(key, 4, 5)
    assert dict(services.bench.calls) == {"table row": 1, "blob read": 2}


@pytest.mark.parametrize("number", [4, 5, 2**31 - 1])
async def test_a_frame_beyond_the_last_refuses_all(services: Services, number: int) -> None:
    (key,) = await services.put_well(instance(frames=3, PixelData=b"".join(frames_of(3))))
    with pytest.raises(NotFound):
        await services.frames(key, 1, number)


async def test_frames_of_what_has_none_are_not_found(services: Services) -> None:
    (key,) = await services.put_well(instance(PixelData=None))
    with pytest.raises(NotFound):
        await services.frames(key, 1)
    with pytest.raises(NotFound):
        await services.frames(InstanceKey(STUDY, SERIES, "1.9"), 1)


@pytest.mark.parametrize("bot", [True, False], ids=["offset table", "markers"])
async def test_fragments_of_a_frame_are_joined(services: Services, bot: bool) -> None:
    frames = [[b"\xff\xd8one", b"two!", b"three\xff\xd9"], [b"\xff\xd8four\xff\xd9"], [b"\xff\xd8fi", b"ve\xff\xd9"]]
    (key,) = await services.put_well(encapsulated(frames, bot=bot))
    padded = [[piece + b"\0" * (len(piece) % 2) for piece in frame] for frame in frames]
    expected = [b"".join(frame) for frame in padded]
    assert await services.frames(key, 1, 2, 3, 1) == [*expected, expected[0]]


async def test_a_frame_of_large_fragments_is_joined_across_the_pieces_it_is_read_in(services: Services) -> None:
    chance = random.Random(1)
    frames = [[chance.randbytes(3 * MIB), chance.randbytes(2 * MIB), chance.randbytes(MIB)] for _ in range(2)]
    (key,) = await services.put_well(encapsulated(frames))
    assert await services.frames(key, 2, 1) == [b"".join(frames[1]), b"".join(frames[0])]


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (1, 1), (5, 7), (4, 4)])
async def test_frames_of_single_bits_begin_with_a_byte_of_their_own(
    services: Services, rows: int, columns: int
) -> None:
    chance, size, count = random.Random(rows), rows * columns, 7
    bits = [chance.getrandbits(1) for _ in range(size * count)]

    def packed(some: list[int]) -> bytes:
        return sum(bit << position for position, bit in enumerate(some)).to_bytes((len(some) + 7) // 8, "little")

    pixels = packed(bits)
    pixels += b"\0" * (len(pixels) % 2)
    one_bit: dict[str, Any] = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": pixels}
    (key,) = await services.put_well(instance(rows=rows, columns=columns, frames=count, **one_bit))
    expected = [packed(bits[start : start + size]) for start in range(0, len(bits), size)]
    assert await services.frames(key, *range(1, count + 1)) == expected


async def test_a_frame_table_too_large_for_its_row_lies_beside_the_instance(services: Services) -> None:
    chance = random.Random(2)
    frames = [[chance.randbytes(2 * chance.randint(1, 64))] for _ in range(100_000)]
    (key,) = await services.put_well(encapsulated(frames))
    stored = await services.archive.index.get_instance(key, ("frames",))
    assert stored is not None
    assert (stored.frames, stored.frames_apart) == (None, True)
    assert sorted(await services.bench.blobs()) == [stored.version, keys.frames_blob(stored.version)]
    asked = [1, 100_000, 54_321]
    assert await services.frames(key, *asked) == [frames[number - 1][0] for number in asked]
    with pytest.raises(NotFound):
        await services.frames(key, 100_001)


async def test_an_empty_fragment_is_an_empty_frame(services: Services) -> None:
    (key,) = await services.put_well(encapsulated([[b"ab"], [b""], [b"cd"]]))
    assert await services.frames(key, 1, 2, 3, 2) == [b"ab", b"", b"cd", b""]


# Small files that say they are large


async def test_a_small_file_that_inflates_to_a_large_one_is_transcoded_piece_by_piece(services: Services) -> None:
    syntax = str(DeflatedExplicitVRLittleEndian)
    pixels = bytes(19_000_000) + bytes(range(250)) * 4000
    file = instance(transfer_syntax=syntax, rows=1000, columns=1000, frames=20, PixelData=pixels)
    assert len(file) < MIB // 10
    (key,) = await services.put_well(file)
    ((_, made),) = await services.files(scope_of(key), EXPLICIT)
    assert parsed(made).PixelData == pixels
    assert await services.frames(key, 20) == [pixels[-1_000_000:]]


async def test_a_small_file_whose_elements_inflate_to_a_large_one_is_not_transcoded(services: Services) -> None:
    syntax = str(DeflatedExplicitVRLittleEndian)
    (key,) = await services.put_well(instance(transfer_syntax=syntax, ICCProfile=bytes(20_000_000)))
    with pytest.raises(CannotTranscode, match=str(8 * MIB)):
        await services.files(scope_of(key), EXPLICIT)


async def test_a_small_file_that_decodes_to_a_large_one_is_not_transcoded(services: Services) -> None:
    frames = [[b"\x01" + bytes(63)]] * 40
    (key,) = await services.put_well(
        encapsulated(frames, transfer_syntax=RLELossless, Rows=60_000, Columns=60_000, BitsAllocated=8)
    )
    with pytest.raises(CannotTranscode, match="is not transcoded"):
        await services.files(scope_of(key), EXPLICIT)
    with pytest.raises(CannotTranscode, match="is not transcoded"):
        await services.frames(key, 1, transfer_syntax=EXPLICIT)


# Deflated


@pytest.mark.parametrize("make", [bytes, random.Random(3).randbytes], ids=["zeros", "noise"])
async def test_frames_of_a_deflated_instance_are_whole(services: Services, make: Callable[[int], bytes]) -> None:
    frames = [make(300 * 300 - 2) + struct.pack("<H", number) for number in range(24)]
    syntax = str(DeflatedExplicitVRLittleEndian)
    file = instance(transfer_syntax=syntax, rows=300, columns=300, frames=24, PixelData=b"".join(frames))
    (key,) = await services.put_well(file)
    assert await services.frames(key, 24, 1, 12, 13) == [frames[23], frames[0], frames[11], frames[12]]
    ((_, plain),) = await services.files(scope_of(key), EXPLICIT)
    assert parsed(plain).PixelData == b"".join(frames)


@pytest.mark.parametrize("surplus", range(0, 300, 10))
@pytest.mark.parametrize("fed", [100, 1 << 20], ids=["in pieces", "at once"])
def test_the_last_bytes_of_a_deflated_data_set_do_not_stay_in_the_inflater(surplus: int, fed: int) -> None:
    # The input is read to its end just when a whole piece of output is full.
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = compressor.compress(bytes(MIB + surplus)) + compressor.flush()
    inflater = RangeInflater(MIB - 50, 50 + surplus)
    pieces = [deflated[start : start + fed] for start in range(0, len(deflated), fed)]
    assert sum(len(part) for piece in pieces for part in inflater.feed(piece)) == 50 + surplus
    assert inflater.done
