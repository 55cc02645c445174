"""The scan of one PS3.10 file while it is still arriving: bytes in, in any pieces; what the file holds, and where, out.

Drives the walk over the file's elements (walk.py), inflates deflated files (PS3.5 §A.5) in bounded pieces, and says at
the end what was found (scanned.py).
"""

import zlib
from dataclasses import replace
from typing import Final

from shared.dicom.scanned import NativePixels, ScannedFile
from shared.dicom.syntaxes import DEFLATED
from shared.dicom.walk import COPY, INFLATE, READ, Walk
from shared.errors import MalformedDicom

_INFLATE_IN: Final = 16 * 1024  # compressed bytes handed to zlib at once, so that its unread tail stays small
_INFLATE_OUT: Final = 256 * 1024  # inflated bytes held at once, however far the input expands


class Part10Scanner:
    """Push parser of one PS3.10 file: `feed` it the bytes in any pieces, then `finish`.

    Memory is at most `max_header_bytes` (twice while finishing), MAX_FRAGMENTS, MAX_BULK_VALUES and one piece of
    inflated data, whatever is sent; MAX_ELEMENTS bounds that of whoever reads the header. Values of bulk VRs longer
    than `elide_over` bytes are left out of the header.
    """

    def __init__(self, *, max_header_bytes: int = 64 * 1024 * 1024, elide_over: int = 4096) -> None:
        self._walk = Walk(max_header_bytes, elide_over)
        self._length = 0
        self._held = bytearray()  # the beginning of what the walk waits to read
        self._inflater: zlib._Decompress | None = None
        self._done = False
        self._failure: MalformedDicom | None = None
        self._steps = self._walk.file()
        self._ask, self._count = next(self._steps)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the file. Raises MalformedDicom; the scanner is of no more use then."""
        if self._failure:
            raise self._failure
        view = memoryview(data).cast("B")
        self._length += len(view)
        try:
            if self._inflater is None:
                view = view[self._advance(view) :]
            if self._inflater is not None:
                self._inflate(self._inflater, view)
        except MalformedDicom as error:
            self._failure = error
            raise
        except zlib.error:
            self._failure = MalformedDicom("the deflated data set cannot be inflated")
            raise self._failure from None

    def finish(self) -> ScannedFile:
        """Say what was found. Raises MalformedDicom when the stream ended before a data set could begin."""
        if self._failure:
            raise self._failure
        if not self._walk.syntax:
            raise MalformedDicom(f"the file ends after {self._length} bytes, before a transfer syntax or a data set")
        # NUL padding after the data set is no sign that something is missing; anything else left over may be.
        clean = self._done or (self._walk.between and not any(self._held))
        truncated = self._walk.rubbish or not clean or (self._inflater is not None and not self._inflater.eof)
        del self._walk.header[self._walk.mark[0] :]
        del self._walk.bulk[self._walk.mark[1] :]
        pixels = self._walk.pixels
        if isinstance(pixels, NativePixels):
            pixels = replace(pixels, length=min(pixels.length, self._walk.offset - pixels.offset))
        elif pixels is not None and not pixels.complete:
            pixels = replace(pixels, end=self._walk.offset + len(self._held))
        return ScannedFile(
            transfer_syntax=self._walk.syntax,
            header=bytes(self._walk.header),
            bulk=tuple(self._walk.bulk),
            pixels=pixels,
            deflated=self._walk.syntax == DEFLATED,
            length=self._length,
            truncated=truncated,
        )

    # Bytes in: what the walk asked for is taken from the pieces as they come.

    def _advance(self, data: memoryview) -> int:
        """Hand the walk what it asks for; gives the bytes used, fewer than came only where deflated data begins."""
        at, size = 0, len(data)
        while not self._done:
            answer = b""
            if self._ask == READ:
                piece = min(self._count - len(self._held), size - at)
                self._held += data[at : at + piece]
                at += piece
                if len(self._held) < self._count:
                    return at
                answer = bytes(self._held)
                self._held.clear()
                self._walk.offset += len(answer)
            elif self._ask == INFLATE:
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                self._walk.offset = 0
            else:
                piece = min(self._count, size - at)
                if self._ask == COPY:
                    self._walk.header += data[at : at + piece]
                at += piece
                self._walk.offset += piece
                self._count -= piece
                if self._count:
                    return at
            starting = self._inflater if self._ask == INFLATE else None
            try:
                self._ask, self._count = self._steps.send(answer)
            except StopIteration:
                self._done = True
            if starting:
                self._inflate(starting, memoryview(self._walk.carried))
                return at
        return size

    def _inflate(self, inflater: "zlib._Decompress", data: memoryview) -> None:
        for at in range(0, len(data), _INFLATE_IN):
            rest: bytes | memoryview = data[at : at + _INFLATE_IN]
            # Once the walk has what it came for nothing more is inflated: the rest could be a bomb.
            while not self._done and not inflater.eof:
                piece = inflater.decompress(rest, _INFLATE_OUT)
                self._advance(memoryview(piece))
                rest = inflater.unconsumed_tail
                if not rest and len(piece) < _INFLATE_OUT:
                    break
