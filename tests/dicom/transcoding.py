"""A file transcoded as the service does it, without the service: scanned, its frames cut out, planned, joined."""

from dataclasses import dataclass

from shared.dicom.bulk import PixelElement
from shared.dicom.codecs import decode_frame
from shared.dicom.deflated import RangeInflater, data_set_start
from shared.dicom.frames import FrameTable, extract_bits, join_fragments
from shared.dicom.image import Frame, Image, image_of
from shared.dicom.instance import Instance, read_instance
from shared.dicom.part10 import Part10Scanner
from shared.dicom.transcode import needs_first, plan_file

#: More than any frame of the tests takes.
ENOUGH = 1 << 26


@dataclass(frozen=True)
class Opened:
    """One file, taken apart; `data` is the file, or what its offsets count in where it is deflated."""

    data: bytes
    rest: bytes
    instance: Instance

    @property
    def source(self) -> str:
        """The transfer syntax of the file."""
        return self.instance.transfer_syntax

    @property
    def element(self) -> PixelElement | None:
        """Its pixel data element."""
        return self.instance.bulk.pixels if self.instance.bulk else None

    @property
    def table(self) -> FrameTable:
        """Where its frames lie."""
        assert self.instance.frames is not None
        return self.instance.frames

    @property
    def image(self) -> Image:
        """What the data set says of its pixels."""
        return image_of(self.instance.metadata)

    def stored(self, number: int) -> bytes:
        """One frame, counted from 1, as it is stored."""
        span = self.table.locate(number)
        data = self.data[span.offset : span.offset + span.length]
        return extract_bits(span, data) if span.bit_length else join_fragments(span, data)

    def decoded(self, number: int) -> Frame:
        """One frame, decoded."""
        assert self.element is not None
        return decode_frame(self.stored(number), self.source, self.image, ENOUGH, vr=self.element.vr)


def opened(file: bytes) -> Opened:
    """Take a file apart."""
    scanner = Part10Scanner()
    scanner.feed(file)
    scanned = scanner.finish()
    instance = read_instance(scanned)
    start, data = 0, file
    if scanned.deflated:
        start = data_set_start(file)
        data = b"".join(RangeInflater(0, ENOUGH).feed(file[start:]))
    pixels = instance.bulk.pixels if instance.bulk else None
    cut = data[: pixels.begin] + data[pixels.end :] if pixels else data
    return Opened(data, file[:start] + cut, instance)


def transcoded(file: bytes, target: str) -> bytes:
    """The file in another transfer syntax; a length that was foretold is compared with what came."""
    parts = opened(file)
    element = parts.element
    if element is None:
        plan = plan_file(parts.rest, parts.source, target, None, 1, None)
        assert plan.length == len(plan.before + plan.after)
        return plan.before + plan.after
    decodes = needs_first(parts.source, target, element)
    count = parts.table.count if decodes else 1
    plan = plan_file(parts.rest, parts.source, target, element, count, parts.decoded(1) if decodes else None)
    joiner = plan.joiner()
    made = [plan.before]
    if decodes:
        made += [joiner.feed(plan.convert(parts.stored(number), ENOUGH)) for number in range(1, count + 1)]
    else:
        value = parts.data[element.offset : element.offset + element.length]
        made += [joiner.feed(value[at : at + 1001]) for at in range(0, len(value), 1001)]
    file = b"".join([*made, joiner.finish()])
    assert plan.length in (None, len(file)), "a plan foretold another length"
    return file
