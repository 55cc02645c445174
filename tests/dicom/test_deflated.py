"""Cutting frames out of deflated files: against pydicom, in any pieces, and bounded whatever the input expands to."""

import zlib
from pathlib import Path

import pydicom
import pytest

from shared.dicom.deflated import MAX_FILE_META, RangeInflater, data_set_start
from shared.dicom.instance import read_instance
from shared.dicom.part10 import Part10Scanner
from shared.errors import MalformedDicom
from tests.builders import instance

DEFLATED = Path(pydicom.__file__).parent / "data" / "test_files" / "image_dfl.dcm"


def cut(raw: bytes, offset: int, length: int, piece: int) -> bytes:
    inflater = RangeInflater(offset, length)
    found = bytearray()
    start = data_set_start(raw)
    for at in range(start, len(raw), piece):
        for part in inflater.feed(raw[at : at + piece]):
            found += part
        if inflater.done:
            break
    assert inflater.done
    return bytes(found)


@pytest.mark.parametrize("piece", [1, 7, 1000, 10**6])
def test_cuts_the_frame_that_the_frame_table_of_a_deflated_file_names(piece: int) -> None:
    raw = DEFLATED.read_bytes()
    scanner = Part10Scanner()
    scanner.feed(raw)
    table = read_instance(scanner.finish()).frames
    assert table is not None and table.count == 1
    span = table.locate(1)
    assert cut(raw, span.offset, span.length, piece) == pydicom.dcmread(DEFLATED).PixelData


def test_finds_the_data_set_whatever_the_group_length_says() -> None:
    raw = bytearray(instance())
    start = raw.index(b"\x08\x00")
    assert data_set_start(bytes(raw)) == start
    at = raw.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    assert data_set_start(bytes(raw)) == start


def test_refuses_a_file_whose_meta_information_does_not_end() -> None:
    raw = instance()[:200]
    with pytest.raises(MalformedDicom):
        data_set_start(raw)
    assert len(raw) < MAX_FILE_META


def test_refuses_bytes_that_cannot_be_inflated() -> None:
    with pytest.raises(MalformedDicom):
        list(RangeInflater(0, 10).feed(b"\xff" * 100))


def test_inflates_a_bomb_in_pieces_of_a_megabyte() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflate.compress(bytes(64 * 1024 * 1024)) + deflate.flush()
    pieces = [len(piece) for piece in RangeInflater(0, 1 << 40).feed(bomb)]
    assert sum(pieces) == 64 * 1024 * 1024
    assert max(pieces) <= 1024 * 1024
